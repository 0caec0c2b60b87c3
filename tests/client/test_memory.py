"""A site's memory: takes effect only when the round it was prepared in completed."""

import numpy as np
import pytest

from sealora.client.memory import SiteMemory
from sealora.protocol.errors import ModelError


def value(number):
    return {"w": np.full((2, 2), number, np.float32)}


def held(folder):
    """What a restarted site remembers."""
    memory = SiteMemory(folder).read()
    return float(memory["w"][0, 0]) if memory else None


def test_nothing_at_first(tmp_path):
    assert SiteMemory(tmp_path / "site").read() == {}


def test_a_stateless_site_writes_nothing(tmp_path):
    memory = SiteMemory(tmp_path / "site")
    memory.prepare(1, 1, {})
    memory.commit((1, 1), 1)
    assert not (tmp_path / "site").exists()


def test_it_counts_from_the_commit(tmp_path):
    memory = SiteMemory(tmp_path)
    memory.prepare(1, 1, value(1))
    assert held(tmp_path) is None
    memory.commit((0, 0), 0)
    assert held(tmp_path) is None
    memory.commit((1, 1), 1)
    assert held(tmp_path) == 1
    np.testing.assert_array_equal(memory.read()["w"], value(1)["w"])


def test_a_lost_round_is_forgotten(tmp_path):
    memory = SiteMemory(tmp_path)
    memory.prepare(1, 1, value(1))
    memory.commit((1, 1), 1)
    memory.prepare(2, 1, value(2))
    memory.prepare(2, 2, value(3))
    memory.commit((2, 2), 2)
    assert held(tmp_path) == 3
    memory.prepare(3, 1, value(4))
    # This site's third attempt never arrived, but the round was completed without it.
    memory.commit((2, 2), 3)
    assert held(tmp_path) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["committed.safetensors"]


def test_a_commit_may_be_repeated(tmp_path):
    """Every attempt of the next round names the same completed one."""
    memory = SiteMemory(tmp_path)
    memory.prepare(1, 1, value(1))
    memory.commit((1, 1), 1)
    memory.prepare(2, 1, value(2))
    SiteMemory(tmp_path).commit((1, 1), 1)
    assert held(tmp_path) == 1
    SiteMemory(tmp_path).commit((2, 1), 2)
    assert held(tmp_path) == 2


def test_a_site_that_is_not_asked_for_some_rounds_keeps_what_it_prepared(tmp_path):
    memory = SiteMemory(tmp_path)
    memory.prepare(1, 1, value(1))
    memory.commit((1, 1), 7)
    assert held(tmp_path) == 1


@pytest.mark.parametrize("contributed", [(0, 0), (1, 2)])
def test_what_came_too_late_is_forgotten(tmp_path, contributed):
    memory = SiteMemory(tmp_path)
    memory.prepare(1, 1, value(1))
    memory.commit(contributed, 1)
    assert held(tmp_path) is None
    memory.commit((1, 1), 1)
    assert held(tmp_path) is None


def test_an_attempt_of_the_open_round_stays_prepared(tmp_path):
    memory = SiteMemory(tmp_path)
    memory.prepare(2, 1, value(1))
    memory.commit((0, 0), 1)
    memory.commit((2, 1), 2)
    assert held(tmp_path) == 1


def test_memory_can_become_empty(tmp_path):
    memory = SiteMemory(tmp_path)
    memory.prepare(1, 1, value(1))
    memory.commit((1, 1), 1)
    memory.prepare(2, 1, {})
    memory.commit((2, 1), 2)
    assert memory.read() == {}


def test_a_crash_while_preparing_leaves_what_was(tmp_path, monkeypatch):
    memory = SiteMemory(tmp_path)
    memory.prepare(1, 1, value(1))
    memory.commit((1, 1), 1)

    def crash(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", crash)
    with pytest.raises(OSError, match="No space"):
        memory.prepare(2, 1, value(2))
    monkeypatch.undo()
    SiteMemory(tmp_path).commit((2, 1), 2)
    assert held(tmp_path) == 1


def test_another_run_has_another_memory(tmp_path):
    for run, number in ((b"a" * 16, 1), (b"b" * 16, 2)):
        memory = SiteMemory(tmp_path).of_run(run)
        assert memory.read() == {}
        memory.prepare(1, 1, value(number))
        memory.commit((1, 1), 1)
    assert held(tmp_path / (b"a" * 16).hex()) == 1
    assert SiteMemory(tmp_path).read() == {}


def test_damage_is_told(tmp_path):
    (tmp_path / "committed.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="hold no tensors"):
        SiteMemory(tmp_path).read()
