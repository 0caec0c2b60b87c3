"""`sealora ledger` on ledgers that were written by sites, and on damaged ones."""

import json

import pytest

from sealora.cli.errors import guard
from sealora.cli.main import load_command
from sealora.privacy.accountants import ACCOUNTANTS
from sealora.privacy.events import Budget, GaussianRelease
from sealora.privacy.ledger import ChargeKey, Ledger


@pytest.fixture
def run(tmp_path):
    """A run folder whose only site paid for two releases."""
    folder = tmp_path / "state" / "ledgers"
    folder.mkdir(parents=True)
    with Ledger(folder / "site-1.jsonl", "site-1", "record", ACCOUNTANTS["pld"]("add-remove")) as ledger:
        for number in (1, 2):
            ledger.charge(ChargeKey("r", number, 1), GaussianRelease(8.0), Budget(10, 1e-5))
    return tmp_path


@pytest.fixture
def command(capsys):
    def call(*words):
        words = [str(word) for word in words]
        app = load_command("ledger")
        code = guard(lambda: app.main(words, "sealora ledger", standalone_mode=False), words)
        return code, *capsys.readouterr()

    return call


def test_show_adds_the_charges_up(command, run):
    code, out, _ = command("show", run, "--json")
    (row,) = json.loads(out)
    assert code == 0
    assert row["charges"] == 2
    expected = ACCOUNTANTS["pld"]("add-remove").epsilon([GaussianRelease(8.0)] * 2, 1e-5)
    assert row["epsilon"] == pytest.approx(expected)
    text = command("show", run / "state" / "ledgers" / "site-1.jsonl")[1]
    assert text.startswith(f"site-1: ε = {expected:.4g} at δ = 1e-05, 2 charges, the last for round 2")


def test_export_holds_every_charge(command, run):
    (ledger,) = json.loads(command("export", run)[1])
    assert (ledger["data_set"], ledger["unit"]) == ("site-1", "record")
    assert [charge["round"] for charge in ledger["charges"]] == [1, 2]
    assert ledger["head"] in command("verify", run)[1]


def test_verify_finds_a_changed_line(command, run):
    path = run / "state" / "ledgers" / "site-1.jsonl"
    path.write_bytes(path.read_bytes().replace(b"8.0", b"9.0", 1))
    code, _, err = command("verify", run)
    assert code == 2
    assert "is damaged at line 2" in err


def test_where_there_is_no_ledger(command, tmp_path):
    code, _, err = command("show", tmp_path)
    assert code == 2
    assert "there is no ledger at" in err
    assert command("show", tmp_path, "--accountant", "x")[0] == 2
