"""A run of enrolled sites: policy, roster and log of each, and no restart for a change of any.

Only the link is missing: requests go from the coordinator to the sites within this process.
"""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sealora.client import approval
from sealora.client.audited import Audited
from sealora.client.membership import SecureSessionsOfSite
from sealora.client.pinned_roster import PinnedRoster
from sealora.client.policy import bound_hash, plan_name
from sealora.client.policy_book import PolicyBook
from sealora.plan.settings import RoundsSettings
from sealora.privacy.audit_log import AuditLog, read_records, traffic
from sealora.protocol.attempts import AttemptLog
from sealora.protocol.errors import RunError
from sealora.protocol.settings import SecureAggregationSettings
from sealora.server import authority
from sealora.server.audit_trail import AuditTrail
from sealora.server.events import RoundDone, SiteRefused
from sealora.server.roster_book import RosterBook
from sealora.server.sessions import SecureSessions
from sealora.server.store import CheckpointStore
from sealora.simulation.toy import toy_federation, toy_plan, toy_site

MODEL = "a1" * 32
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLAN = toy_plan(
    secure_aggregation=SecureAggregationSettings(colluders=0), rounds=RoundsSettings(count=3, attempts=2)
)


class RosterFleet:
    """Reaches the sites that run and are on the roster in force."""

    def __init__(self, handlers, book):
        self._handlers, self._book = handlers, book

    @property
    def sites(self):
        return tuple(name for name in self._book.reachable() if name in self._handlers)

    def exchange(self, requests, deadline):
        for site, request in requests.items():
            yield site, self._handlers[site](request)


class Run:
    """Enrolled sites and their coordinator; `then` maps rounds to what operators do after them."""

    def __init__(self, partners, *names):
        self.partners, self.then, self.events, self.logs = partners, {}, [], []
        self.book = RosterBook(partners.federation)
        self.toy = toy_federation(partners.folder / "toy", sites=1, plan=PLAN)
        plan_hash = bytes.fromhex(bound_hash(PLAN, MODEL))
        self.contract = replace(self.toy.contract, plan_hash=plan_hash)
        self.folders = {site.name: site for site in partners.found(*names)}
        self.handlers = {name: self.start(site) for name, site in self.folders.items()}

    def start(self, folder):
        """A site's process."""
        text = folder.settings_path.read_text().replace("models = []", f'models = ["{MODEL}"]')
        folder.settings_path.write_text(text)
        approval.record(folder, "approve", plan_name(PLAN), "toy", "kim", NOON)
        sessions = SecureSessionsOfSite(folder, folder.identity(None), AttemptLog(), PLAN)
        site = toy_site(self.partners.folder / "toy", folder.name, self.contract, 2, sessions)
        site.policy = PolicyBook(folder, lambda: NOON)
        self.logs.append(folder.audit_log())
        return Audited(site.handle, self.logs[-1])

    def add(self, name, *signers):
        """A site joins while the coordinator runs, and the roster is relayed to all."""
        self.folders[name] = self.partners.member(name)
        self.handlers[name] = self.start(self.folders[name])
        draft = self.book.propose(None)
        self.book.collect(self.partners.sign(draft, *(self.folders[signer] for signer in signers)))
        PinnedRoster(self.folders[name]).accept(self.book.current())
        self.relay()

    def relay(self):
        federation = self.partners.federation
        for folder in self.folders.values():
            PinnedRoster(folder).follow(federation.roster_path.read_bytes(), federation.public)

    def notify(self, event):
        self.events.append(event)
        if isinstance(event, RoundDone) and event.record.round in self.then:
            self.then[event.record.round]()

    def go(self, state="state"):
        federation = self.partners.federation
        identity = federation.identity(None)
        with AuditLog(federation.audit_path, f"coordinator of {federation.card.name}") as log:
            coordinator = self.toy.coordinator(observers=(AuditTrail(log), self))
            coordinator.plan_hash = self.contract.plan_hash
            coordinator.store = CheckpointStore(self.partners.folder / state)
            coordinator.fleet = RosterFleet(self.handlers, self.book)
            coordinator.sessions = SecureSessions(identity, self.book.current, PLAN.secure_aggregation)
            return coordinator.run()[0].sha256()

    @property
    def contributors(self):
        """Who contributed, by round."""
        return [event.record.contributors for event in self.events if isinstance(event, RoundDone)]

    @property
    def refusals(self):
        return {(event.site, event.text) for event in self.events if isinstance(event, SiteRefused)}


@pytest.fixture
def started(partners):
    runs = []

    def start(*names):
        runs.append(Run(partners, *names))
        return runs[-1]

    yield start
    for run in runs:
        for log in run.logs:
            log.close()


@pytest.mark.slow
def test_a_site_joins_between_rounds_and_nobody_restarts(started):
    run = started("ams", "ber", "cph")
    run.then[1] = lambda: run.add("dub", "ams", "ber", "cph")
    run.go()
    founders = ("ams", "ber", "cph")
    assert run.contributors == [founders, (*founders, "dub"), (*founders, "dub")]
    assert run.refusals == set()


@pytest.mark.slow
def test_who_has_not_approved_a_change_sits_out_until_it_does(started):
    run = started("ams", "ber", "cph", "dub")
    run.then[1] = lambda: run.add("edi", "ams", "ber", "cph")
    run.then[2] = lambda: PinnedRoster(run.folders["dub"]).accept(run.book.current())
    run.go()
    assert run.contributors[0] == ("ams", "ber", "cph", "dub")
    assert run.contributors[1] == ("ams", "ber", "cph", "edi")
    assert run.contributors[2] == ("ams", "ber", "cph", "dub", "edi")
    aborts = [record for record in read_records(run.folders["dub"].audit_path) if record.kind == "abort"]
    assert [record.detail["failure"] for record in aborts] == ["wrong_roster"]


@pytest.mark.slow
def test_a_revoked_site_is_left_out_from_the_next_round(started):
    run = started("ams", "ber", "cph", "dub")
    run.then[1] = lambda: authority.revoke(run.partners.federation, "dub")
    run.go()
    assert [len(contributors) for contributors in run.contributors] == [4, 3, 3]


@pytest.mark.slow
def test_a_policy_that_is_tightened_counts_from_the_next_round(started):
    run = started("ams", "ber", "cph", "dub")

    def tighten():
        path = run.folders["dub"].settings_path
        path.write_text(path.read_text().replace("cohort = 3", "cohort = 9"))

    run.then[2] = tighten
    run.go()
    assert [len(contributors) for contributors in run.contributors] == [4, 4, 3]
    assert run.refusals == {("dub", "policy line floors.cohort: 4 sites in a round are fewer than 9.")}


@pytest.mark.slow
def test_what_left_a_site_is_what_the_coordinator_received(started):
    run = started("ams", "ber", "cph")
    run.go()
    server = read_records(run.partners.federation.audit_path)
    for name, folder in run.folders.items():
        left = traffic(read_records(folder.audit_path), "out")
        assert {kind: part.messages for kind, part in left.items()} == dict.fromkeys(
            ("advert", "shares", "masked", "consistency", "release"), 4
        ), "three rounds and the evaluation"
        received = [r for r in server if r.direction == "in" and r.detail.get("site") == name]
        assert sum(part.size for part in left.values()) == sum(record.size for record in received)


@pytest.mark.slow
def test_a_second_run_needs_a_second_approval_and_nothing_else(started):
    """The same plan and seed, so the same first model; the sites' processes, logs and memories go on."""
    run = started("ams", "ber", "cph")
    first = run.go()
    with pytest.raises(RunError, match=r"ams, ber, cph: exhausted, the runs .* are used up \(1\); approve"):
        run.go("again")
    for folder in run.folders.values():
        approval.record(folder, "approve", plan_name(PLAN), "toy", "kim", NOON)
    assert run.go("again") == first
    assert run.contributors == [("ams", "ber", "cph")] * 6
