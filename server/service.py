"""The coordinator as a service: a run over partner sites, in a folder that outlives its process.

Killed at any moment and started again on the same folder, it goes on: the checkpoint has the finished
rounds, the session file the open attempt, and the sites keep their answers.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sealora.models.adapter import Adapter, Tensors
from sealora.models.task import Counts, Metrics
from sealora.plan.cohort_sizes import cohort_sizes
from sealora.plan.logs import Log
from sealora.plan.metrics_endpoint import MetricsEndpoint
from sealora.plan.payload import payload_layout, require_known, round_context
from sealora.plan.settings import PlanSettings
from sealora.protocol.certificates import Credentials
from sealora.protocol.keys import IdentityKey
from sealora.protocol.messages import MAX_MESSAGE_BYTES, Work
from sealora.server.audit_trail import AuditTrail
from sealora.server.authority import Gate
from sealora.server.cohort import fewest
from sealora.server.event_log import EventLogger
from sealora.server.events import Evaluated, Observer
from sealora.server.federation_folder import FederationFolder
from sealora.server.grpc_fleet import FleetSettings, GrpcFleet
from sealora.server.loop import Coordinator
from sealora.server.roster_book import RosterBook
from sealora.server.run_metrics import RunMetrics
from sealora.server.session_file import SessionFile
from sealora.server.sessions import PlainSessions, SecureSessions, Sessions
from sealora.server.status import StatusFile
from sealora.server.store import CheckpointStore
from sealora.server.switchboard import Presence
from sealora.strategies.strategy import Strategy

REPLY_ROOM = 1 << 20
"""Bytes of a reply besides its vector."""


@dataclass(frozen=True)
class RunParts:
    """What a run is made of, whatever connects its sites."""

    plan: PlanSettings
    plan_hash: bytes
    task: Metrics
    strategy: Strategy
    initial: Adapter
    measure_public: Callable[[Tensors], Mapping[str, Counts]] | None = None


@dataclass(frozen=True)
class Keys:
    """The coordinator's secrets, as they are needed: to sign headers and to listen."""

    identity: IdentityKey
    credentials: Credentials = field(repr=False)


@dataclass(frozen=True)
class Service:
    """One run of one federation. `folder` is the run's, whose lock the caller holds."""

    parts: RunParts
    federation: FederationFolder
    keys: Keys
    folder: Path
    fleet: FleetSettings
    log: Log
    metrics_port: int | None = None
    """Of the endpoint for monitoring, 0 for any; None for none."""

    def run(self, observers: Sequence[Observer] = ()) -> tuple[Adapter, Evaluated]:
        """Listen, and run to the end. Raises what `Coordinator.run` does, and UsageError."""
        status, metrics, roster = StatusFile(self.folder), RunMetrics(), RosterBook(self.federation)
        require_known(self.parts.plan, sorted(roster.current().members))

        def told(presence: Presence) -> None:
            status.present(presence)
            metrics.present(presence)
            self._tell(presence)

        with ExitStack() as stack:
            audit = stack.enter_context(self.federation.audit_log())
            if self.metrics_port is not None:
                endpoint = stack.enter_context(MetricsEndpoint(self.metrics_port, metrics.exposition))
                self.log("metrics", port=endpoint.port)
            fleet = stack.enter_context(self._open_fleet(roster.reachable, told))
            self.log("listening", port=fleet.port)
            own = (AuditTrail(audit), EventLogger(self.log), status, metrics)
            return self._coordinator(fleet, self._sessions(roster), (*own, *observers)).run()

    def _open_fleet(self, sites: Callable[[], Sequence[str]], told: Callable[[Presence], None]) -> GrpcFleet:
        gate, parts = Gate(self.federation), self.parts
        return GrpcFleet(
            sites,
            parts.plan_hash,
            self.keys.credentials,
            lambda certificate: gate.admit(certificate, datetime.now(UTC)),
            self.fleet,
            self.log,
            least=fewest(parts.plan, sites()),
            largest=self._largest_reply(len(sites())),
            told=told,
        )

    def _largest_reply(self, sites: int) -> int:
        parts = self.parts
        contexts = (
            round_context(parts.plan, parts.strategy, parts.initial.layout, number, cohort)
            for number in (1, 2)  # a strategy may take turns
            for cohort in cohort_sizes(parts.plan, parts.plan.cohort.size or sites)
        )
        words = (
            payload_layout(parts.plan, parts.strategy, parts.task, context, Work.TRAIN).words
            for context in contexts
        )
        return min(MAX_MESSAGE_BYTES, 8 * max(words) + REPLY_ROOM)

    def _sessions(self, roster: RosterBook) -> Sessions:
        file = SessionFile(self._state / "session.bin")
        if not self.parts.plan.secure_aggregation.enabled:
            return PlainSessions(file=file)
        return SecureSessions(
            self.keys.identity, roster.current, self.parts.plan.secure_aggregation, file=file
        )

    def _coordinator(
        self, fleet: GrpcFleet, sessions: Sessions, observers: Sequence[Observer]
    ) -> Coordinator:
        parts = self.parts
        return Coordinator(
            plan=parts.plan,
            plan_hash=parts.plan_hash,
            task=parts.task,
            strategy=parts.strategy,
            initial=parts.initial,
            fleet=fleet,
            store=CheckpointStore(self._state),
            sessions=sessions,
            observers=observers,
            measure_public=parts.measure_public,
        )

    def _tell(self, presence: Presence) -> None:
        self.log("presence", connected=presence.connected, absent=presence.absent)
        if presence.lacking:
            self.log("waiting", sites=presence.lacking, seconds=round(presence.seconds_left))

    @property
    def _state(self) -> Path:
        return self.folder / "state"
