"""A coordinator of the toy federation: `toy_coordinator.py FOLDER PORT PATIENCE`."""

import json
import sys
from pathlib import Path

import toy_plan
from parties import COORDINATOR, Parties

from sealora.models.adapter import Adapter
from sealora.plan.logs import Log
from sealora.server.grpc_fleet import FleetSettings, GrpcFleet
from sealora.server.loop import Coordinator
from sealora.server.session_file import SessionFile
from sealora.server.sessions import PlainSessions, SecureSessions
from sealora.server.store import CheckpointStore
from sealora.simulation.toy import LAYOUT, tensors_of


def main(folder: Path, port: int, patience: float) -> None:
    parties, log = Parties(folder / "parties"), Log("coordinator")
    sites, plan = toy_plan.read(folder)
    contract = toy_plan.contract_of(plan)
    secure = plan.secure_aggregation
    file = SessionFile(folder / "state" / "session.bin")
    sessions = (
        SecureSessions(parties.identity(COORDINATOR), lambda: parties.roster, secure, file)
        if secure.enabled
        else PlainSessions(file=file)
    )
    fleet = GrpcFleet(
        sites,
        contract.plan_hash,
        parties.credentials(COORDINATOR),
        parties.admit,
        FleetSettings(listen=f"127.0.0.1:{port}", patience=patience),
        log,
        least=secure.minimum_of(len(sites)) if secure.enabled else 1,
    )
    with fleet:
        log("open", port=fleet.port)
        coordinator = Coordinator(
            plan=plan,
            plan_hash=contract.plan_hash,
            task=contract.task,
            strategy=contract.strategy,
            initial=Adapter(LAYOUT, tensors_of("start", scale=0.1)),
            fleet=fleet,
            store=CheckpointStore(folder / "state"),
            sessions=sessions,
            observers=[LogEvents(log)],
        )
        adapter, evaluated = coordinator.run()
    print(json.dumps({"sha256": adapter.sha256(), "metrics": evaluated.metrics}))


class LogEvents:
    def __init__(self, log: Log) -> None:
        self._log = log

    def notify(self, event: object) -> None:
        name = type(event).__name__
        shown = {
            field: getattr(event, field)
            for field in ("round", "phase", "site", "attempt", "reason", "text")
            if hasattr(event, field)
        }
        self._log(name, **shown)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
