"""A site answers every request: with its contribution, or with a refusal, never with an exception."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora.models.adapter import pack
from sealora.models.settings import TrainingSettings
from sealora.plan.payload import payload_layout, round_context
from sealora.protocol import messages
from sealora.protocol.errors import DataError, RefusedError, RunError, UsageError
from sealora.protocol.messages import Header, Open, Reason, Refusal, Work
from sealora.server.recorder import Recorder
from sealora.server.store import CheckpointStore
from sealora.simulation.toy import LAYOUT, tensors_of, toy_federation, toy_plan
from sealora.strategies.settings import StrategySettings

NAMES = tuple(spec.name for spec in LAYOUT.specs)
MANY = ("site-1", *(f"site-{number}" for number in range(200, 500)))
TENSORS = pack(tensors_of("start"))


@pytest.fixture
def toy(tmp_path):
    return toy_federation(tmp_path, sites=2)


@pytest.fixture
def site(toy):
    return toy.sites["site-1"]


def header(contract, tensors=TENSORS, trains=NAMES, **changes):
    """A header that an honest coordinator would send, but for the changes."""
    work = changes.get("work", Work.TRAIN)
    context = round_context(contract.plan, contract.strategy, LAYOUT, 1, 2)
    layout = payload_layout(contract.plan, contract.strategy, contract.task, context, work)
    return Header(
        **{
            "plan_hash": contract.plan_hash,
            "run": bytes(16),
            "round": 1,
            "attempt": 1,
            "work": work,
            "model_hash": messages.model_hash(tensors, trains),
            "cohort": ("site-1", "site-2"),
            "quorum": 1,
            "words": layout.words,
            "levels": layout.levels,
            "lanes": layout.lanes_used,
            **changes,
        }
    )


def opening(contract, tensors=TENSORS, trains=NAMES, **changes):
    return messages.request(Open(header(contract, tensors, trains, **changes).serialise(), tensors, trains))


def refusal(site, request):
    """The refusal that the request is answered with."""
    answer = messages.parse_reply(site.handle(request))
    assert isinstance(answer, Refusal), "the site went along"
    return answer


def contributes(site, request):
    return not isinstance(messages.parse_reply(site.handle(request)), Refusal)


@pytest.mark.parametrize("work", [Work.TRAIN, Work.EVALUATE])
def test_a_proper_opening_is_answered_with_a_contribution(site, work):
    assert contributes(site, opening(site.contract, work=work))
    assert site.metrics["rows"] == 1


OTHER = tensors_of("other")
MISSING = pack({name: tensor for name, tensor in OTHER.items() if name != NAMES[0]})
STRANGE = pack({**OTHER, "strange": np.zeros(1, np.float32)})
MISSHAPEN = pack({**OTHER, NAMES[0]: np.zeros((7, 7), np.float32)})
HUGE = pack({**OTHER, NAMES[0]: np.full(LAYOUT[NAMES[0]].shape, 3e38, np.float32)})
LARGE = pack({**OTHER, NAMES[0]: np.full(LAYOUT[NAMES[0]].shape, 1e4, np.float32)})
NANS = pack({**OTHER, NAMES[0]: np.full(LAYOUT[NAMES[0]].shape, np.nan, np.float32)})


def doubles():
    from safetensors.numpy import save

    return save({name: tensor.astype(np.float64) for name, tensor in OTHER.items()})


OTHER_TENSORS = "asks to train other tensors than the plan's strategy"
REFUSED = {
    "another plan": ({"plan_hash": bytes(32)}, Reason.PROTOCOL, "another plan"),
    "not in the cohort": ({"cohort": ("site-2", "site-3")}, Reason.PROTOCOL, "not in the cohort"),
    "another model": ({"model_hash": bytes(32)}, Reason.PROTOCOL, "not the one that the header names"),
    "too many words": ({"words": 10**6}, Reason.PROTOCOL, "dimensions are not the plan's"),
    "other levels": ({"levels": 3}, Reason.PROTOCOL, "dimensions are not the plan's"),
    "fewer lanes": ({"lanes": 1}, Reason.PROTOCOL, "dimensions are not the plan's"),
    "a larger cohort's words": (
        {"cohort": MANY}, Reason.PROTOCOL, "dimensions are not the plan's",
    ),
    "evaluation of training's words": ({"work": Work.EVALUATE, "words": 40}, Reason.PROTOCOL, "dimensions"),
    "round 0": ({"round": 0}, Reason.PROTOCOL, "count from 1"),
    "quorum above the cohort": ({"quorum": 3}, Reason.PROTOCOL, "quorum exceeds"),
    "an unsorted cohort": ({"cohort": ("site-2", "site-1")}, Reason.PROTOCOL, "not sorted"),
    "strange tensors to train": ({"trains": (*NAMES, "x")}, Reason.PROTOCOL, OTHER_TENSORS),
    "fewer tensors to train": ({"trains": NAMES[:2]}, Reason.PROTOCOL, OTHER_TENSORS),
    "a tensor to train twice": ({"trains": (*NAMES, NAMES[0])}, Reason.PROTOCOL, OTHER_TENSORS),
    "nothing to train": ({"trains": ()}, Reason.PROTOCOL, OTHER_TENSORS),
    "no tensors": ({"tensors": b""}, Reason.FAILED, "hold no tensors"),
    "malformed tensors": ({"tensors": b"\x08" + bytes(7) + b"{\"a\": 1}"}, Reason.FAILED, "hold no tensors"),
    "an endless header of tensors": ({"tensors": b"\xff" * 100}, Reason.FAILED, "hold no tensors"),
    "a tensor missing": ({"tensors": MISSING}, Reason.FAILED, f"lacks ['{NAMES[0]}']"),
    "a tensor too many": ({"tensors": STRANGE}, Reason.FAILED, "unknown ['strange']"),
    "a misshapen tensor": ({"tensors": MISSHAPEN}, Reason.FAILED, "the plan says float32(2,)"),
    "doubles": ({"tensors": doubles()}, Reason.FAILED, "is float64, not float32"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_opening_is_refused(site, case):
    changes, reason, text = REFUSED[case]
    answer = refusal(site, opening(site.contract, **changes))
    assert answer.reason == reason
    assert text in answer.text
    assert "\n" not in answer.text
    assert contributes(site, opening(site.contract, round=2)), "a refusal leaves the site in working order"


def test_a_strange_evaluation_is_refused(site):
    answer = refusal(site, opening(site.contract, tensors=MISSING, work=Work.EVALUATE))
    assert "lacks" in answer.text


def test_a_model_that_is_not_finite_does_not_break_the_site(site):
    assert "not finite" in refusal(site, opening(site.contract, tensors=NANS)).text
    assert "beyond ±10,000" in refusal(site, opening(site.contract, tensors=HUGE, attempt=2)).text
    assert contributes(site, opening(site.contract, tensors=LARGE, attempt=3))


def test_no_model_is_looked_at_with_values_that_can_overflow(site):
    def look(*_):
        pytest.fail("rows were looked at")

    site.trainer.train = site.trainer.evaluate = look
    for attempt, (work, raw) in enumerate(product(Work, (NANS, HUGE)), 1):
        assert refusal(site, opening(site.contract, tensors=raw, work=work, attempt=attempt))


class Overflowing:
    """A trainer that comes to something else than numbers, as a model can be made to with chosen rows."""

    def __init__(self, toy, value, loss):
        self.toy, self.value, self.loss, self.layout = toy, value, loss, toy.layout
        self.evaluate = toy.evaluate

    def train(self, *arguments):
        trained = self.toy.train(*arguments)
        spoilt = {name: np.full_like(tensor, self.value) for name, tensor in trained.tensors.items()}
        return replace(trained, tensors=spoilt if self.value else trained.tensors, loss=self.loss)


@pytest.mark.parametrize(
    ("name", "value", "loss"),
    [
        ("fedavg", 0, np.nan),
        ("fedavg", 0, np.inf),
        ("fedavg", 0, 1e30),
        ("scaffold", np.inf, 1.0),
        ("fedsa", np.nan, 1.0),
        ("fedex", 3e38, 1.0),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_no_refusal_tells_that_training_overflowed(tmp_path, name, value, loss):
    """A yes or no about the rows of one site would pass the masks: it sends zeros, and says so at home."""
    plan = toy_plan(strategy=StrategySettings(name=name), training=TrainingSettings(optimizer="sgd"))
    toy, said, recorder = toy_federation(tmp_path, sites=2, plan=plan), [], Recorder()
    for site in toy.sites.values():
        site.trainer, site.warn = Overflowing(site.trainer, value, loss), said.append
    _, evaluated = toy.coordinator(observers=[recorder]).run()
    assert {record.contributors for record in recorder.history} == {tuple(toy.sites)}
    assert {(record.diverged, record.clipped) for record in recorder.history} == {(2, 2)}
    assert all(record.train_loss > 1e6 for record in recorder.history)
    assert evaluated.metrics["loss"] == pytest.approx(recorder.history[0].metrics["loss"], rel=1e-3)
    run = CheckpointStore(tmp_path / "state").load().run
    assert not any(np.any(kept) for site in toy.sites.values() for kept in remembered(site, run))
    assert len(said) == 2 * len(recorder.history)
    assert "training.learning_rate" in said[0]


def remembered(site, run):
    return list(site.memory.of_run(run).read().values())


@pytest.mark.parametrize("again", [(1, 1), (2, 1), (2, 2)])
def test_rounds_and_attempts_only_go_forward(site, again):
    assert contributes(site, opening(site.contract, round=2, attempt=2))
    answer = refusal(site, opening(site.contract, round=again[0], attempt=again[1]))
    assert (answer.reason, answer.text) == (Reason.PROTOCOL, "this round and attempt were already answered")
    assert contributes(site, opening(site.contract, round=2, attempt=3))


def test_each_run_counts_for_itself(site):
    for run in (bytes(16), b"r" * 16):
        assert contributes(site, opening(site.contract, round=2, attempt=2, run=run))
    for run in (bytes(16), b"r" * 16):
        assert "already answered" in refusal(site, opening(site.contract, round=1, run=run)).text


@pytest.mark.parametrize(
    "request_bytes",
    [b"", b"\xff", b"\x0a\xff\xff\xff\xff\x0f", bytes(100), messages.request(Open(b"", b"", ()))],
    ids=["empty", "broken", "a length beyond the end", "zeros", "an empty header"],
)
def test_bytes_that_are_no_request(site, request_bytes):
    assert refusal(site, request_bytes).reason == Reason.PROTOCOL


def test_oversized_bytes(site, monkeypatch):
    request = opening(site.contract)
    monkeypatch.setattr(messages, "MAX_MESSAGE_BYTES", len(request) - 1)
    assert refusal(site, request).text == "the message is too long"


def test_a_message_without_an_attempt(site):
    answer = refusal(site, messages.request(b"hello"))
    assert (answer.reason, answer.text) == (Reason.PROTOCOL, "no attempt is open")


def test_a_plain_session_has_no_second_message(site):
    assert contributes(site, opening(site.contract))
    assert "ends with the contribution" in refusal(site, messages.request(b"hello")).text
    assert refusal(site, messages.request(b"hello")).text == "no attempt is open"


@pytest.mark.parametrize(
    ("error", "reason"),
    [(RunError("the disk is full."), Reason.FAILED), (RefusedError("no."), Reason.POLICY)],
)
def test_what_goes_wrong_at_the_site_is_told(site, error, reason):
    def fail(*_):
        raise error

    site.trainer.train = fail
    assert refusal(site, opening(site.contract)) == Refusal(reason, error.message)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RefusedError("the ledger /srv/wards/ledgers/hiv-2024.jsonl is in use."), Reason.POLICY),
        (RefusedError("the ledger hiv-2024.jsonl pays for other data than these."), Reason.POLICY),
        (UsageError("hiv-2024.jsonl is the group-level ledger of data set 'hiv-2024'."), Reason.FAILED),
        (DataError("hiv-2024.jsonl is damaged at line 7."), Reason.FAILED),
        (RunError("hiv-2024.jsonl cannot be written."), Reason.FAILED),
    ],
)
def test_what_is_wrong_with_a_ledger_stays_here(site, error, reason, caplog):
    class Broken:
        schedule = None

        def price(self, work):
            pass

        def pay(self, header):
            raise error

    site.purse = Broken()
    answer = refusal(site, opening(site.contract))
    assert answer == Refusal(reason, "this site's ledger cannot pay for it")
    assert "hiv-2024" in caplog.text, "the operator sees it"


def test_a_damaged_memory_is_told(toy, tmp_path):
    folder = tmp_path / "sites" / "site-1" / bytes(16).hex()
    folder.mkdir(parents=True)
    (folder / "committed.safetensors").write_bytes(b"x")
    assert "hold no tensors" in refusal(toy.sites["site-1"], opening(toy.contract)).text


def test_a_refused_header_commits_no_memory(toy, tmp_path):
    site = toy.sites["site-1"]
    memory = site.memory.of_run(bytes(16))
    memory.prepare(1, 1, tensors_of("kept"))
    refusal(site, opening(toy.contract, round=2, completed=(1, 1), plan_hash=bytes(32)))
    assert memory.read() == {}
    contributed = ((1, 1), (0, 0))
    contributes(site, opening(toy.contract, round=2, completed=(1, 1), contributed=contributed))
    assert set(memory.read()) == set(NAMES)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_are_answered(tmp_path_factory, raw):
    site = toy_federation(tmp_path_factory.getbasetemp() / "any", sites=2).sites["site-1"]
    assert isinstance(messages.parse_reply(site.handle(raw)), Refusal)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_damage_to_a_request_is_answered(tmp_path_factory, data):
    """Flipped, cut or doubled bytes of a proper request, and of the tensors within an honest header."""
    site = toy_federation(tmp_path_factory.getbasetemp() / "damage", sites=2).sites["site-1"]
    within = data.draw(st.booleans())
    raw = bytearray(TENSORS if within else opening(site.contract))
    at = data.draw(st.integers(0, len(raw) - 1))
    action = data.draw(st.sampled_from(["flip", "cut", "double"]))
    if action == "flip":
        raw[at] ^= data.draw(st.integers(1, 255))
    elif action == "cut":
        del raw[at:]
    else:
        raw[at:at] = raw[: data.draw(st.integers(1, 50))]
    request = opening(site.contract, tensors=bytes(raw)) if within else bytes(raw)
    messages.parse_reply(site.handle(request))


def test_the_contents_of_rows_stay_out_of_the_repr(site):
    assert "Example" not in repr(site)


def test_header_changes_are_of_this_site(site):
    """The helper's header is the honest one: only what a case names is changed."""
    assert replace(header(site.contract)) == Header.parse(header(site.contract).serialise())


def test_unweighted_plans_are_answered_too(tmp_path):
    plan = toy_plan(strategy=StrategySettings(weighting="uniform"))
    site = toy_federation(tmp_path, sites=2, plan=plan).sites["site-1"]
    assert contributes(site, opening(site.contract))
