"""Training on a tiny BERT: reproducible, exact in what it moves, and able to learn."""

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from sealora.client.torch_trainer import TorchTrainer
from sealora.models.adapter import flatten
from sealora.models.base import load_base
from sealora.models.classification import Classification
from sealora.models.lora import frozen_tensors, initial_adapter, parameters_of
from sealora.models.settings import LoraSettings, ModelSettings, TaskSettings, TrainingSettings
from sealora.models.task import Example
from sealora.protocol.errors import RunError
from sealora.strategies.strategy import Start

TASK = Classification(TaskSettings(labels=("negative", "positive"), max_length=16))
SEED = bytes(range(32))
SETTINGS = {"batch_size": 8, "learning_rate": 0.02, "threads": 1}


def examples(count=40, seed=0):
    """Token rows of 4 to 12; token 5 among them means positive, token 9 negative."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        words = draw.choices(range(13, 23), k=draw.randint(1, 9))
        words.insert(draw.randint(0, len(words)), 5 if number % 2 else 9)
        rows.append(Example((2, *words, 3), number % 2))
    return rows


@pytest.fixture(scope="module")
def make(tiny_model):
    """Trainers with given settings, each on a base of its own."""

    def build(lora=None, rounds=1, dtype="auto", **settings):
        base = load_base(ModelSettings(name=str(tiny_model), device="cpu", dtype=dtype), TASK)
        return TorchTrainer(
            base,
            TASK,
            LoraSettings(rank=2, **(lora or {})),
            TrainingSettings(**{**SETTINGS, **settings}),
            rounds,
        )

    return build


def names(trainer, role=None):
    return [spec.name for spec in trainer.layout.specs if role in (None, spec.role)]


def train(trainer, start=None, trains=None, rows=None, round_number=1, seed=SEED, term=None):
    tensors = start or initial_adapter(trainer.layout, 0).tensors
    return trainer.train(
        Start(tensors, term), trains or names(trainer), rows or examples(), round_number, seed
    )


def vector(trainer, tensors):
    return flatten(tensors, names(trainer))


def test_the_same_seed_trains_the_same(make):
    first, second = make(lora={"dropout": 0.2}), make(lora={"dropout": 0.2})
    one, two = train(first), train(second)
    assert vector(first, one.tensors).tobytes() == vector(first, two.tensors).tobytes()
    assert (one.loss, one.rows) == (two.loss, two.rows)
    again = train(first)
    assert vector(first, again.tensors).tobytes() == vector(first, one.tensors).tobytes(), "no state is kept"
    other = train(first, seed=bytes(32))
    assert not np.array_equal(vector(first, other.tensors), vector(first, one.tensors))


def test_dropout_acts_on_the_adapter_only_while_training(make):
    dry, wet = make(), make(lora={"dropout": 0.5})
    one, two = train(dry), train(wet)
    assert not np.array_equal(vector(dry, one.tensors), vector(wet, two.tensors))
    sums = [trainer.evaluate(one.tensors, examples()) for trainer in (dry, wet, wet)]
    assert all(np.array_equal(sums[0][name], other[name]) for other in sums[1:] for name in sums[0])


def test_sites_that_share_a_trainer_do_not_meet(make):
    shared, alone = make(), make()
    train(shared, rows=examples(16, seed=5), seed=bytes(32))
    shared.evaluate(train(shared).tensors, examples(8))
    assert vector(shared, train(shared).tensors).tobytes() == vector(alone, train(alone).tensors).tobytes()


def test_replicas_share_the_base_and_train_the_same_at_the_same_time(make):
    trainer = make(lora={"dropout": 0.2}, epochs=3)
    replica = trainer.replica()
    frozen = [set(map(id, frozen_tensors(one.model))) for one in (trainer, replica)]
    assert frozen[0] == frozen[1]
    assert not {id(p) for p in parameters_of(trainer.model).values()} & {
        id(p) for p in parameters_of(replica.model).values()
    }
    expected = vector(trainer, train(trainer).tensors)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(train, [trainer, replica, trainer.replica(), replica.replica()]))
    assert all(vector(trainer, result.tensors).tobytes() == expected.tobytes() for result in results)


def test_a_stopped_trainer_and_its_replicas_do_no_more(make):
    trainer = make()
    replica = trainer.replica()
    trainer.stop()
    with pytest.raises(RunError, match="stopped"):
        train(replica)
    with pytest.raises(RunError, match="stopped"):
        trainer.evaluate(initial_adapter(trainer.layout, 0).tensors, examples())


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_microbatches_add_up_to_the_batch(make, size, optimizer):
    settings = {"optimizer": optimizer, "max_gradient_norm": 0.5, "epochs": 2}
    whole, parts = make(**settings), make(microbatch_size=size, **settings)
    one, two = train(whole), train(parts)
    np.testing.assert_allclose(vector(parts, two.tensors), vector(whole, one.tensors), atol=1e-5)
    assert two.loss == pytest.approx(one.loss, rel=1e-5)


def test_only_what_is_named_moves(make):
    trainer = make()
    start = initial_adapter(trainer.layout, 0).tensors
    result = train(trainer, start, trains=names(trainer, "B")).tensors
    moved = {name for name in result if not np.array_equal(result[name], start[name])}
    assert moved == set(names(trainer, "B"))
    moved = {
        name
        for name, tensor in train(trainer, start).tensors.items()
        if not np.array_equal(tensor, start[name])
    }
    assert moved == set(names(trainer))


def test_the_base_never_changes(make):
    def frozen(trainer):
        return {
            name: parameter.detach().numpy().tobytes()
            for name, parameter in trainer.model.named_parameters()
            if ".default." not in name
        }

    trainer = make()
    before = frozen(trainer)
    train(trainer)
    assert frozen(trainer) == before
    assert len(before) > 30


@pytest.mark.slow
def test_it_learns(make):
    trainer = make(epochs=10, learning_rate=0.005)
    held_out = examples(80, seed=1)
    start = initial_adapter(trainer.layout, 0).tensors

    def metrics(tensors):
        sums = trainer.evaluate(tensors, held_out)
        return TASK.metrics({name: counts.astype(float) for name, counts in sums.items()})

    result = train(trainer, start, rows=examples(200))
    before, after = metrics(start), metrics(result.tensors)
    assert result.rows == 10 * 200
    assert after["loss"] < 0.5 * before["loss"]
    assert after["accuracy"] > 0.9


def test_rows_and_loss_are_those_seen(make):
    trainer = make(learning_rate=1e-12, optimizer="sgd", epochs=3)
    result = train(trainer)
    sums = trainer.evaluate(initial_adapter(trainer.layout, 0).tensors, examples())
    assert result.rows == 120
    assert result.loss / 3 == pytest.approx(float(sums["loss"][0]) / 65536, rel=1e-4)


def test_a_gradient_term_is_added_at_every_step(make):
    options = {"optimizer": "sgd", "learning_rate": 1e-3, "max_gradient_norm": 0.0, "batch_size": 40}
    trainer = make(**options)
    seen = []

    def push(current):
        seen.append({name: tensor.copy() for name, tensor in current.items()})
        return {name: np.full_like(tensor, 2.0) for name, tensor in current.items()}

    plain, pushed = train(trainer), train(trainer, term=push)
    difference = vector(trainer, plain.tensors) - vector(trainer, pushed.tensors)
    np.testing.assert_allclose(difference, 2e-3, atol=1e-6)
    assert len(seen) == 1
    start = initial_adapter(trainer.layout, 0).tensors
    assert all(np.array_equal(seen[0][name], start[name]) for name in start)
    train(make(**{**options, "batch_size": 8}), term=push)
    assert len(seen) == 1 + 5


def test_gradients_are_scaled_down_to_the_norm(make):
    trainer = make(optimizer="sgd", learning_rate=1.0, max_gradient_norm=0.01, batch_size=40)
    start = initial_adapter(trainer.layout, 0).tensors
    moved = vector(trainer, train(trainer, start).tensors) - vector(trainer, start)
    assert np.linalg.norm(moved) == pytest.approx(0.01, rel=1e-2)


def test_the_step_size_follows_the_run(make):
    """With a linear schedule over two rounds, the only step of round 2 is half as long."""
    settings = {"optimizer": "sgd", "schedule": "linear", "batch_size": 40, "max_gradient_norm": 0.0}
    trainer = make(rounds=2, **settings)
    start = initial_adapter(trainer.layout, 0).tensors
    steps = [
        vector(trainer, train(trainer, start, round_number=number).tensors) - vector(trainer, start)
        for number in (1, 2)
    ]
    np.testing.assert_allclose(steps[1], steps[0] / 2, rtol=1e-3, atol=1e-7)


@pytest.mark.filterwarnings("ignore:overflow")
def test_divergence_shows_in_the_loss_and_ends_nothing(make):
    trainer = make(optimizer="sgd", learning_rate=1e30, max_gradient_norm=0.0)
    lost = train(trainer)
    assert (np.isfinite(lost.loss), lost.steps) == (False, 5)
    good = train(make())
    assert np.isfinite(vector(trainer, good.tensors)).all()
    again = trainer.evaluate(initial_adapter(trainer.layout, 0).tensors, examples())
    assert again["rows"] == 40, "the trainer goes on working"


@pytest.mark.slow
def test_predictions_come_in_the_order_of_the_texts(make):
    trainer = make(epochs=10, learning_rate=0.005)
    tensors = train(trainer, rows=examples(200)).tensors
    rows = examples(70, seed=2)
    together = trainer.predict(tensors, rows)
    alone = [trainer.predict(tensors, [row])[0] for row in rows]
    assert [row["label"] for row in together] == [row["label"] for row in alone]
    scores = [[row["scores"]["positive"] for row in some] for some in (together, alone)]
    np.testing.assert_allclose(*scores, atol=1e-5)
    right = sum(
        row["label"] == ("negative", "positive")[e.target] for row, e in zip(together, rows, strict=True)
    )
    assert right > 60


def test_counting_does_not_depend_on_the_batches(make):
    trainer = make()
    tensors = initial_adapter(trainer.layout, 3).tensors
    rows = examples(70, seed=2)
    whole = trainer.evaluate(tensors, rows)
    halves = [trainer.evaluate(tensors, part) for part in (rows[:33], rows[33:])]
    for name in ("rows", "correct", "table"):
        np.testing.assert_array_equal(whole[name], halves[0][name] + halves[1][name])


def test_nothing_to_count(make):
    trainer = make()
    assert trainer.evaluate(initial_adapter(trainer.layout, 0).tensors, [])["rows"] == 0


def test_threads_are_the_plans(make):
    make(threads=1)
    assert torch.get_num_threads() == 1


def test_half_precision_keeps_small_steps(make):
    """A step far below the resolution of bfloat16 still moves every tensor."""
    trainer = make(dtype="bfloat16", learning_rate=1e-6)
    trained = train(trainer).tensors
    initial = initial_adapter(trainer.layout, 0).tensors
    assert all((trained[name] != initial[name]).any() for name in names(trainer, "head"))


def test_calibration_discounts_the_classes_of_the_site(make):
    """Texts that say nothing teach the head the frequencies of the classes, unless these are discounted."""
    rows = [Example((2, 15, 3), int(number % 10 == 0)) for number in range(40)]

    def preference(**settings):
        trainer = make(epochs=5, **settings)
        first, second = trainer.predict(train(trainer, rows=rows).tensors, rows[:1])[0]["scores"].values()
        return np.log(first / second)

    assert preference() > 1
    assert abs(preference(label_calibration=1.0)) < 0.5
