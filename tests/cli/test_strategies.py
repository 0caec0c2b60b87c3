"""`sealora strategies`: a table, one in full, and JSON."""

import json

from sealora.strategies.registry import BUILT_IN


def test_all_are_listed(command):
    code, out, _ = command("strategies")
    assert code == 0
    assert all(f"\n{name} " in out for name in BUILT_IN)


def test_all_as_json(command):
    code, out, _ = command("strategies", "--json")
    found = {facts["name"]: facts for facts in json.loads(out)}
    assert code == 0
    assert set(BUILT_IN) <= set(found)
    assert found["ffa"]["upload"] == 0.5
    assert found["fedsa"]["personal"] == "B"
    assert found["scaffold"]["optimizer"] == "sgd"


def test_one_in_full(command):
    code, out, _ = command("strategies", "fedprox")
    assert code == 0
    assert out.startswith("fedprox\n")
    assert "options.mu = 0.01 (≥ 0, ≤ 100): Weight μ of the squared distance" in out
    assert "arXiv 1812.06127" in out


def test_one_as_json(command):
    (option,) = json.loads(command("strategies", "fedprox", "--json")[1])["options"]
    assert (option["key"], option["default"]) == ("mu", "0.01")


def test_an_unknown_one_is_one_line(command):
    code, out, err = command("strategies", "nope")
    assert (code, out) == (2, "")
    assert "there is no strategy named 'nope'. Known strategies: fed_sb, fedadagrad, fedadam" in err
