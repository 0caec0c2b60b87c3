"""The round loop over a toy federation: cohorts, losses, retries, restarts."""

from dataclasses import replace

import numpy as np
import pytest

from sealora.models.adapter import flatten
from sealora.plan.settings import CohortSettings, RoundsSettings
from sealora.protocol import messages
from sealora.protocol.errors import AttemptFailed, RunError, UsageError
from sealora.protocol.messages import Reason, Refusal
from sealora.protocol.plain import PlainCoordinatorHalf
from sealora.server import store
from sealora.server.events import AttemptLost, AttemptOpened, Evaluated, RoundDone, SiteAnswered, SiteRefused
from sealora.simulation.faults import Fault, Faults
from sealora.simulation.toy import LAYOUT, tensors_of, toy_federation, toy_plan
from sealora.strategies.fedavg import FedAvg

NAMES = [spec.name for spec in LAYOUT.specs]


class Recorder:
    def __init__(self):
        self.events = []

    def notify(self, event):
        self.events.append(event)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def history(self):
        return [event.record for event in self.of(RoundDone)]


class Death(BaseException):
    """The process ends here."""


class Mortal:
    """Dies when it is told of event number `moment` (from 0)."""

    def __init__(self, moment):
        self.left = moment

    def notify(self, event):
        self.left -= 1
        if self.left < 0:
            raise Death


class Counting(FedAvg):
    """FedAvg whose sites remember how often they contributed, and shift their update by it."""

    def upload(self, received, trained, memory, context):
        payload = super().upload(received, trained, memory, context)
        return {"update": payload["update"] + self._count(memory) * np.float32(0.001)}

    def remember(self, payload, factors, trained, memory, context):
        return {"count": self._count(memory)}

    def _count(self, memory):
        return memory.get("count", np.zeros(1, np.float32)) + np.float32(1)


def run(folder, faults=None, **options):
    """(adapter, evaluated, recorder) of a toy federation."""
    recorder = Recorder()
    adapter, evaluated = toy_federation(folder, **options).coordinator(faults, observers=[recorder]).run()
    return adapter, evaluated, recorder


def counting(folder, **sections):
    plan = toy_plan(**sections)
    return toy_federation(folder, sites=3, plan=plan, strategy=Counting(plan.strategy))


def untimed(history):
    """The history without what a restart may change: seconds, and the numbers of attempts."""
    return [replace(record, seconds={}, attempt=0) for record in history]


def test_every_round_counts_every_site(tmp_path):
    _, evaluated, recorder = run(tmp_path)
    sites = ("site-1", "site-2", "site-3", "site-4")
    assert [record.round for record in recorder.history] == [1, 2, 3]
    assert all(record.cohort == record.contributors == sites for record in recorder.history)
    assert recorder.of(Evaluated) == [evaluated]
    assert evaluated.contributors == sites
    assert evaluated.tables == {"rows": 1 + 2 + 3 + 4}
    losses = [record.metrics["loss"] for record in recorder.history] + [evaluated.metrics["loss"]]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > 1.2 * losses[-1]


def test_the_model_approaches_the_weighted_mean_of_the_targets(tmp_path):
    toy = toy_federation(tmp_path, plan=toy_plan(rounds=RoundsSettings(count=12)))
    for site in toy.sites.values():
        site.trainer.jitter = 0.0
    adapter, _ = toy.coordinator().run()
    targets = [flatten(tensors_of(name), NAMES) for name in toy.sites]
    expected = np.average(targets, axis=0, weights=[10, 20, 30, 40])
    assert np.abs(flatten(adapter.tensors, NAMES) - expected).max() < 2e-3


def test_a_rounds_figures_are_counted(tmp_path):
    _, _, recorder = run(tmp_path)
    answers = [event for event in recorder.of(SiteAnswered) if event.round == 1]
    record = recorder.history[0]
    assert record.bytes_up == sum(event.bytes_up for event in answers)
    assert record.bytes_down == sum(event.bytes_down for event in answers)
    assert set(record.seconds) == {"train", "step"}
    # The toy's training loss is its distance at the start, weighted by rows.
    assert record.train_loss == pytest.approx(record.metrics["loss"], rel=1e-4)
    assert record.clipped == 0


def test_the_same_plan_gives_the_same_adapter(tmp_path):
    first, second = run(tmp_path / "1")[0], run(tmp_path / "2")[0]
    assert first.sha256() == second.sha256()
    other = run(tmp_path / "3", plan=toy_plan(seed=1))[0]
    assert other.sha256() != first.sha256()


def test_cohorts_of_some_sites(tmp_path):
    plan = toy_plan(cohort=CohortSettings(size=2), rounds=RoundsSettings(count=6))
    _, evaluated, recorder = run(tmp_path / "1", plan=plan)
    cohorts = [record.cohort for record in recorder.history]
    assert all(len(set(cohort)) == 2 for cohort in cohorts)
    assert len(set(cohorts)) > 1
    assert evaluated.contributors == ("site-1", "site-2", "site-3", "site-4")
    assert [record.cohort for record in run(tmp_path / "2", plan=plan)[2].history] == cohorts


def test_a_lost_site_is_left_out(tmp_path):
    faults = Faults(script={("site-2", number): Fault(0) for number in (1, 2, 3)})
    adapter, evaluated, recorder = run(tmp_path / "1", faults)
    assert all(record.contributors == ("site-1", "site-3", "site-4") for record in recorder.history)
    assert "site-2" in evaluated.contributors
    without = toy_federation(tmp_path / "2")
    del without.sites["site-2"]
    expected, _ = without.coordinator().run()
    difference = flatten(adapter.tensors, NAMES) - flatten(expected.tensors, NAMES)
    assert np.abs(difference).max() < 1e-3


@pytest.mark.parametrize(("deadline", "late"), [(10.0, True), (1000.0, False)])
def test_a_straggler_counts_until_the_deadline(tmp_path, deadline, late):
    plan = toy_plan(rounds=RoundsSettings(deadline=deadline))
    recorder = run(tmp_path, Faults(script={("site-2", 2): Fault(0, delay=100.0)}), plan=plan)[2]
    assert ["site-2" not in record.contributors for record in recorder.history] == [False, late, False]


def test_a_round_without_quorum_is_tried_again(tmp_path):
    faults = Faults(script={(f"site-{number}", 2): Fault(0) for number in (1, 2, 3)})
    adapter, _, recorder = run(tmp_path / "1", faults)
    assert [record.attempt for record in recorder.history] == [1, 2, 1]
    (lost,) = recorder.of(AttemptLost)
    assert (lost.round, lost.attempt) == (2, 1)
    assert lost.reason == "1 sites contributed, the quorum is 2."
    assert adapter.sha256() == run(tmp_path / "2")[0].sha256()


def test_a_lost_attempt_leaves_memory_as_it_was(tmp_path):
    faults = Faults(script={(f"site-{number}", 2): Fault(0) for number in (1, 2)})
    adapter, _ = counting(tmp_path / "1").coordinator(faults).run()
    assert adapter.sha256() == counting(tmp_path / "2").coordinator().run()[0].sha256()


def remembered(toy, state="state"):
    """How often each site thinks that it was in a sum of the run."""
    run = store.CheckpointStore(toy.folder / state).load().run
    counts = {name: site.memory.of_run(run).read().get("count", [0]) for name, site in toy.sites.items()}
    return {name: int(count[0]) for name, count in counts.items()}


def contributed(history, name):
    return sum(name in record.contributors for record in history)


def test_a_site_remembers_every_round_that_it_is_in_the_sum_of_and_no_other(tmp_path):
    """Most sites are not asked again at once, and one is always late."""
    sections = {"cohort": CohortSettings(size=2, quorum=0.1), "rounds": RoundsSettings(count=8)}
    toy, recorder = counting(tmp_path, **sections), Recorder()
    faults = Faults(script={("site-2", number): Fault(0, delay=1e9) for number in range(1, 8)})
    toy.coordinator(faults, observers=[recorder]).run()
    expected = {name: contributed(recorder.history, name) for name in toy.sites}
    assert remembered(toy) == expected
    assert expected["site-2"] <= 1 < expected["site-1"]


def test_a_second_run_with_the_same_sites_is_like_the_first(tmp_path):
    toy, models = counting(tmp_path), []
    for state in ("state", "again"):
        coordinator = toy.coordinator()
        coordinator.store = store.CheckpointStore(tmp_path / state)
        models.append(coordinator.run()[0].sha256())
        assert set(remembered(toy, state).values()) == {3}
    assert models[0] == models[1]


def test_a_run_that_finds_no_quorum_stops_and_can_be_resumed(tmp_path):
    plan = toy_plan(rounds=RoundsSettings(attempts=1))
    faults = Faults(script={(f"site-{number}", 2): Fault(0) for number in (1, 2, 3)})
    with pytest.raises(RunError, match="round 2 found no quorum in 1 attempts"):
        run(tmp_path / "1", faults, plan=plan)
    checkpoint = store.CheckpointStore(tmp_path / "1" / "state").load()
    assert checkpoint.round == 1
    resumed, _, recorder = run(tmp_path / "1", plan=plan)
    assert [record.round for record in recorder.history] == [2, 3]
    assert resumed.sha256() == run(tmp_path / "2", plan=plan)[0].sha256()


class Accusing(PlainCoordinatorHalf):
    """Names site-1 as the culprit of the first attempt it is in."""

    def advance(self):
        if "site-1" in self.header.cohort:
            raise AttemptFailed("site-1 cheated.", frozenset({"site-1"}))
        super().advance()


def test_culprits_leave_the_next_cohort(tmp_path):
    recorder = Recorder()
    toy = toy_federation(tmp_path)
    toy.coordinator(observers=[recorder], new_session=Accusing).run()
    cohorts = [event.cohort for event in recorder.of(AttemptOpened)]
    assert cohorts[0] == ("site-1", "site-2", "site-3", "site-4")
    assert all(cohort == ("site-2", "site-3", "site-4") for cohort in cohorts[1:])
    assert len(cohorts) == 1 + 3 + 1


def test_without_sites_the_run_stops(tmp_path):
    class Hostile(PlainCoordinatorHalf):
        def advance(self):
            raise AttemptFailed("all cheat.", frozenset(self.header.cohort))

    with pytest.raises(RunError, match="no site is left for round 1"):
        toy_federation(tmp_path).coordinator(new_session=Hostile).run()


def answering(toy, name, answer):
    """The coordinator of a toy where one site answers with `answer(request)`."""
    coordinator = toy.coordinator()
    coordinator.fleet._sites[name] = answer
    recorder = Recorder()
    coordinator.observers = [recorder]
    return coordinator, recorder


REFUSAL = messages.reply(Refusal(Reason.POLICY, "not today"))


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (REFUSAL, "policy"),
        (b"\xff\xff", "malformed"),
        (b"", "malformed"),
        (messages.reply(b"short"), "malformed"),
        (messages.reply(b""), "malformed"),
    ],
)
def test_a_site_that_refuses_or_babbles_is_left_out(tmp_path, reply, reason):
    coordinator, recorder = answering(toy_federation(tmp_path), "site-3", lambda _: reply)
    coordinator.run()
    assert all(record.contributors == ("site-1", "site-2", "site-4") for record in recorder.history)
    assert {(event.site, event.reason) for event in recorder.of(SiteRefused)} == {("site-3", reason)}


def test_words_that_nobody_can_have_sent_lose_the_attempt(tmp_path):
    toy = toy_federation(tmp_path)

    def forge(request):
        opening = messages.parse_request(request)
        header = messages.Header.parse(opening.header)
        words = np.full(header.words, 2**64 - 1, dtype=np.uint64)
        return messages.reply(messages.contribution(messages.hashlib.sha256(opening.header).digest(), words))

    coordinator, recorder = answering(toy, "site-1", forge)
    # Alone in the sum, so that nothing wraps around.
    for name in ("site-2", "site-3", "site-4"):
        coordinator.fleet._sites[name] = lambda _: REFUSAL
    coordinator.plan = toy_plan(cohort=CohortSettings(quorum=0.1))
    with pytest.raises(RunError, match="round 1 found no quorum"):
        coordinator.run()
    assert {event.reason for event in recorder.of(AttemptLost)} == {
        "the sum is not one that these contributors can have sent."
    }


# --- restarts ---


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    recorder = Recorder()
    adapter, evaluated = counting(tmp_path_factory.mktemp("whole")).coordinator(observers=[recorder]).run()
    return adapter.sha256(), evaluated, untimed(recorder.history), len(recorder.events)


def test_faults_strike_a_resumed_round_too(tmp_path):
    """An interrupted attempt is opened again under the next number, and meets the same faults."""
    faults = Faults(script={("site-2", 2): Fault(0)})
    expected = counting(tmp_path / "1").coordinator(faults).run()[0]
    with pytest.raises(Death):
        counting(tmp_path / "2").coordinator(faults, observers=[Mortal(9)]).run()
    recorder = Recorder()
    adapter, _ = counting(tmp_path / "2").coordinator(faults, observers=[recorder]).run()
    assert [(record.round, record.attempt) for record in recorder.history] == [(2, 2), (3, 1)]
    assert adapter.sha256() == expected.sha256()


@pytest.mark.slow
@pytest.mark.parametrize("living_sites", [False, True])
def test_a_death_at_any_event_changes_nothing(tmp_path, uninterrupted, living_sites):
    """Sites die with the coordinator, or live on and are asked the same again."""
    sha256, evaluated, history, events = uninterrupted
    assert events > 20
    for moment in range(events):
        folder = tmp_path / str(moment)
        toy = counting(folder)
        with pytest.raises(Death):
            toy.coordinator(observers=[Mortal(moment)]).run()
        recorder = Recorder()
        toy = toy if living_sites else counting(folder)
        adapter, again = toy.coordinator(observers=[recorder]).run()
        assert adapter.sha256() == sha256, moment
        assert again == evaluated, moment
        assert untimed(store.CheckpointStore(folder / "state").load().history) == history, moment


def test_a_run_that_dies_at_every_event_in_turn_still_ends(tmp_path, uninterrupted):
    """Every process lives to see nine events; a round takes six."""
    sha256, *_ = uninterrupted
    deaths = 0
    while True:
        try:
            adapter, _ = counting(tmp_path).coordinator(observers=[Mortal(9)]).run()
            break
        except Death:
            deaths += 1
            assert deaths < 20
    assert deaths >= 2
    assert adapter.sha256() == sha256


@pytest.mark.slow
def test_a_full_disk_at_any_write_changes_nothing(tmp_path, uninterrupted, monkeypatch):
    sha256, _, history, _ = uninterrupted
    real = store.write_durably
    for moment in range(12):
        left = [moment]

        def write(path, content, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise OSError(28, "No space left on device", str(path))
            real(path, content)

        folder = tmp_path / str(moment)
        monkeypatch.setattr(store, "write_durably", write)
        with pytest.raises(OSError, match="No space left"):
            counting(folder).coordinator().run()
        monkeypatch.setattr(store, "write_durably", real)
        adapter, _ = counting(folder).coordinator().run()
        assert adapter.sha256() == sha256
        assert untimed(store.CheckpointStore(folder / "state").load().history) == history


def test_a_finished_run_only_evaluates_again(tmp_path):
    first, evaluated, _ = run(tmp_path)
    second, again, recorder = run(tmp_path)
    assert second.sha256() == first.sha256()
    assert again == evaluated
    assert recorder.history == []


def test_a_checkpoint_of_another_plan_is_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(UsageError, match="the run in this folder is of another plan"):
        run(tmp_path, plan=toy_plan(seed=1))
