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
    spent = f"site-1: ε = {expected:.4g} at δ = 1e-05 for each record, 2 charges, the last for round 2"
    assert text.startswith(spent)


def test_show_composes_all_runs_on_a_ledger(command, run):
    pld = ACCOUNTANTS["pld"]("add-remove")
    folder = run / "state" / "ledgers"
    with Ledger(folder / "site-1.jsonl", "site-1", "record", pld) as ledger:
        ledger.charge(ChargeKey("later", 1, 1), GaussianRelease(4.0), Budget(10, 1e-5))
    # A folder of ledgers that outlive their runs is read as well.
    (row,) = json.loads(command("show", folder, "--json")[1])
    assert row["epsilon"] == pytest.approx(
        pld.epsilon([GaussianRelease(8.0)] * 2 + [GaussianRelease(4.0)], 1e-5)
    )
    assert {run: own["charges"] for run, own in row["runs"].items()} == {"r": 2, "later": 1}
    assert row["runs"]["later"]["epsilon"] == pytest.approx(pld.epsilon([GaussianRelease(4.0)], 1e-5))
    assert row["epsilon"] < sum(own["epsilon"] for own in row["runs"].values())
    text = command("show", folder)[1].splitlines()
    assert len(text) == 3
    assert text[2].startswith("  run later: ε = ")


def test_verify_as_json(command, run):
    (row,) = json.loads(command("verify", run, "--json")[1])
    assert row["lines"] == 3
    assert len(row["head"]) == 64


def test_verify_tells_of_bytes_that_are_no_line(command, run):
    assert "no line" not in command("verify", run)[1]
    with (run / "state" / "ledgers" / "site-1.jsonl").open("ab") as file:
        file.write(b'{"entry":')
    assert command("verify", run)[1].endswith("; then 9 bytes that are no line\n")


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


def test_show_answers_for_replaced_records_and_for_many(command, run):
    def shown(*words):
        code, out, _ = command("show", run, "--json", *words)
        assert code == 0
        return json.loads(out)[0]

    one, replaced, three = shown(), shown("--relation", "replace-one"), shown("--group", 3)
    double = ACCOUNTANTS["pld"]("add-remove").epsilon([GaussianRelease(4.0)] * 2, 1e-5)
    assert one["epsilon"] < replaced["epsilon"] == pytest.approx(double, abs=2e-3)
    assert (replaced["relation"], three["group"]) == ("replace-one", 3)
    exact = ACCOUNTANTS["pld"]("add-remove").epsilon([GaussianRelease(8 / 3)] * 2, 1e-5)
    assert exact <= three["epsilon"] <= 1.2 * exact
    assert "for each record that is replaced, 2 charges" in command("show", run, "--relation=replace-one")[1]
    assert "for any 3 records at once, 2 charges" in command("show", run, "--group=3")[1]


def test_show_says_where_nothing_is_promised(command, run):
    (row,) = json.loads(command("show", run, "--json", "--group", 1000)[1])
    assert row["epsilon"] is None
    assert row["runs"]["r"]["epsilon"] is None
    text = command("show", run, "--group=1000")[1]
    assert "site-1: no bound on ε at δ = 1e-05 for any 1000 records" in text


@pytest.mark.parametrize("name", ["pld", "rdp"])
def test_show_refuses_a_delta_that_is_no_number(command, run, name):
    code, out, _ = command("show", run, "--delta", "nan", "--accountant", name, "--json")
    assert code == 2
    assert "δ = nan is no number between 0 and 1" in json.loads(out)["error"]["message"]


def test_show_names_the_relations(command, run):
    code, _, err = command("show", run, "--relation", "zero-out")
    assert code == 2
    assert "Known: add-remove, replace-one." in err


@pytest.mark.parametrize("word", ["show", "verify", "export"])
@pytest.mark.parametrize("left", [0, 20])
def test_a_ledger_without_a_whole_line_is_an_error(command, run, word, left):
    path = run / "state" / "ledgers" / "site-1.jsonl"
    path.write_bytes(path.read_bytes()[:left])
    code, out, err = command(word, run)
    assert (code, out) == (2, "")
    assert "site-1.jsonl holds no whole line: the ledger was cut, or never begun." in err
