"""The checkpoint: saved whole, read back equal, and refused when damaged."""

import json

import numpy as np
import pytest

from sealora.protocol.errors import UsageError
from sealora.server.events import RoundRecord
from sealora.server.store import Checkpoint, CheckpointStore

RECORD = RoundRecord(
    round=1,
    attempt=2,
    cohort=("a", "b"),
    contributors=("a",),
    train_loss=0.25,
    clipped=1,
    metrics={"loss": 0.5, "auroc": float("inf")},
    bytes_down=10,
    bytes_up=20,
    seconds={"train": 1.5},
    guarantee="none",
    transcript="ab",
)


def checkpoint(*history):
    state = {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}
    return Checkpoint(bytes(range(16)), bytes(32), state, history)


def test_it_is_read_as_it_was_saved(tmp_path):
    store = CheckpointStore(tmp_path / "state")
    assert store.load() is None
    store.save(checkpoint())
    assert store.load().completed == (0, 0)
    store.save(checkpoint(RECORD))
    loaded = store.load()
    assert (loaded.run, loaded.plan_hash) == (bytes(range(16)), bytes(32))
    assert loaded.history == (RECORD,)
    assert loaded.completed == (1, 2)
    np.testing.assert_array_equal(loaded.state["w"], checkpoint().state["w"])


def test_only_the_last_checkpoint_is_kept(tmp_path):
    store = CheckpointStore(tmp_path)
    store.save(checkpoint())
    store.save(checkpoint(RECORD))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["progress.json", "round-000001.safetensors"]


def test_attempts_are_numbered_across_restarts(tmp_path):
    assert [CheckpointStore(tmp_path).open_attempt(number) for number in (1, 1, 2, 2, 2, 3)] == [
        1,
        2,
        1,
        2,
        3,
        1,
    ]
    (tmp_path / "attempt.json").write_text("{}")
    with pytest.raises(UsageError, match="cannot be read"):
        CheckpointStore(tmp_path).open_attempt(3)


def test_the_tensors_stay_out_of_the_repr():
    assert "array" not in repr(checkpoint())


def edit(key, value):
    def apply(folder):
        path = folder / "progress.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))

    return apply


def remove(key):
    def apply(folder):
        path = folder / "progress.json"
        progress = json.loads(path.read_text())
        del progress[key]
        path.write_text(json.dumps(progress))

    return apply


DAMAGES = {
    "cut short": lambda folder: (folder / "progress.json").write_text('{"format": 1, "run'),
    "no object": lambda folder: (folder / "progress.json").write_text("[1]"),
    "not text": lambda folder: (folder / "progress.json").write_bytes(b"\xff\xfe\x00"),
    "tensors lost": lambda folder: (folder / "round-000001.safetensors").unlink(),
    "tensors changed": lambda folder: (folder / "round-000001.safetensors").write_bytes(b"x" * 100),
    "another format": edit("format", 2),
    "no format": remove("format"),
    "no hash": remove("sha256"),
    "no run": remove("run"),
    "run not hexadecimal": edit("run", "xyz"),
    "history of another kind": edit("history", [{"round": 1}]),
    "history no list": edit("history", 3),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_one_line(tmp_path, damage):
    store = CheckpointStore(tmp_path)
    store.save(checkpoint(RECORD))
    DAMAGES[damage](tmp_path)
    with pytest.raises(UsageError) as caught:
        store.load()
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "progress.json") in str(caught.value)
    assert caught.value.remedy
