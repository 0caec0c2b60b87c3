"""Whole runs under record-level privacy: what leaves a site, what is paid, and how a budget ends a run."""

import io
import json
import math
from dataclasses import replace

import pytest
from rich.console import Console

import sealora
from sealora.cli.errors import guard
from sealora.cli.main import load_command
from sealora.plan.loader import load
from sealora.plan.privacy_forecast import plan_schedule
from sealora.privacy.ledger import read_charges
from sealora.protocol import messages
from sealora.protocol.errors import PlanError, RefusedError, UsageError
from sealora.protocol.messages import Header, Open, Reason, Refusal, Work
from sealora.simulation.federation import assemble
from sealora.simulation.report import final_table

PRIVACY = """
[strategy]
weighting = "uniform"

[privacy]
guarantee = "record"
epsilon = {epsilon}
delta = 1e-3
sampling_rate = 0.5
expected_batch = 8
steps_per_round = 1
noise_multiplier = 1.0
"""


@pytest.fixture
def plan(tiny, tmp_path):
    """A plan of five rounds; `epsilon` is each site's budget."""

    def write(epsilon=1000.0, extra="", edits=(), **values):
        path = tiny.plan(
            tmp_path / "plan",
            ("count = 3", "count = 5"),
            ("[lora]", "drop_duplicates = false\n\n[lora]"),
            *edits,
            **values,
        )
        path.write_text(path.read_text() + PRIVACY.format(epsilon=epsilon) + extra)
        return load(path)

    return write


@pytest.fixture
def affordable(plan):
    """A budget that pays for exactly two rounds."""
    planned = plan_schedule(plan())
    return (planned.epsilon(2) + planned.epsilon(3)) / 2


@pytest.mark.slow
def test_a_private_run_pays_for_every_round_and_shows_nothing_else(plan, tmp_path):
    made = plan()
    run = sealora.simulate(made, tmp_path / "run")
    privacy = run.result["privacy"]
    assert privacy["epsilon"] == pytest.approx(plan_schedule(made).epsilon(5))
    assert set(privacy["sites"].values()) == {privacy["epsilon"]}
    assert f"({privacy['epsilon']:.4g}, 0.001)-differential privacy" in privacy["statement"]
    assert run.result["stopped"] is None
    assert run.result["train_loss"] == [None] * 5
    assert all(value is None for metrics in run.result["curve"] for value in metrics.values())
    assert all(site["metrics"] is None for site in run.result["sites"].values())
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[:-1]:
        record = json.loads(line)
        assert (record["clipped"], record["train_loss"]) == (None, None)
    ledgers = sorted((tmp_path / "run" / "state" / "ledgers").glob("*.jsonl"))
    assert len(ledgers) == 5
    for path in ledgers:
        assert [charge.key.round for charge in read_charges(path)] == [1, 2, 3, 4, 5]


@pytest.mark.slow
def test_a_budget_ends_a_run_and_no_resume_goes_past_it(plan, affordable, tmp_path):
    made = plan(affordable)
    for resume in (False, True):
        run = sealora.simulate(made, tmp_path / "run", resume=resume)
        assert "do not pay for round 3: the model is that of round 2" in run.result["stopped"]
        assert len(run.result["train_loss"]) == 2
        assert run.result["privacy"]["epsilon"] == pytest.approx(plan_schedule(made).epsilon(2))
        for path in (tmp_path / "run" / "state" / "ledgers").glob("*.jsonl"):
            assert [charge.key.round for charge in read_charges(path)] == [1, 2]


@pytest.mark.slow
def test_a_spent_budget_is_exit_code_3_now_and_after_a_resume(plan, affordable, tmp_path, capsys):
    plan(affordable)

    def run(*options):
        words = [str(tmp_path / "plan" / "plan.toml"), "--out", str(tmp_path / "run"), "--json", *options]
        app = load_command("simulate")
        return guard(lambda: app.main(words, "sealora simulate", standalone_mode=False), words)

    for options in ([], ["--resume"]):
        assert run(*options) == 3
        assert "do not pay for round 3" in json.loads(capsys.readouterr().out)["stopped"]


@pytest.mark.slow
def test_metrics_of_a_public_table_are_shown(plan, tiny, tmp_path):
    made = plan(extra=f'metrics = "public"\npublic_holdout = "{tiny.data}"\n').replace(rounds={"count": 2})
    result = sealora.simulate(made, tmp_path / "run").result
    assert [0 <= metrics["accuracy"] <= 1 for metrics in result["curve"]] == [True] * 3
    assert sum(entry["support"] for entry in result["tables"]["classes"].values()) == 100
    assert all(site["metrics"] is None for site in result["sites"].values())


@pytest.mark.slow
def test_noised_metrics_are_paid_for_shown_as_such_and_released_once(plan, tmp_path):
    made = plan(extra='metrics = "noised"\nmetrics_noise = 0.3\n')
    planned = plan_schedule(made)
    console = Console(file=io.StringIO(), width=200)
    for resume in (False, True):
        result = sealora.simulate(made, tmp_path / "run", resume=resume, console=console).result
        privacy = result["privacy"]
        assert (privacy["metrics"], privacy["metrics_noise"]) == ("noised", 0.3)
        assert privacy["epsilon"] == pytest.approx(planned.epsilon(5, 1))
        for path in (tmp_path / "run" / "state" / "ledgers").glob("*.jsonl"):
            charges = read_charges(path)
            assert [charge.key.round for charge in charges] == [1, 2, 3, 4, 5, 6]
            assert [charge.event for charge in charges] == [planned.round_event] * 5 + [planned.metrics]
    assert all(0 <= metrics["accuracy"] <= 1 for metrics in result["curve"])
    support = sum(entry["support"] for entry in result["tables"]["classes"].values())
    assert support == pytest.approx(100, abs=20), "all rows train, and all are measured"
    assert result["train_loss"] == [None] * 5
    assert all(site["metrics"] is None for site in result["sites"].values())
    assert "noised accuracy before it" in console.file.getvalue()
    shown = Console(file=io.StringIO(), width=400)
    shown.print(final_table(result))
    assert "Result of tiny (metrics noised)" in shown.file.getvalue()
    assert "of the rows that were trained on" in shown.file.getvalue()
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[:-1]:
        assert json.loads(line)["noised"] is True


@pytest.mark.slow
def test_a_budget_that_does_not_pay_for_the_final_metrics_withholds_them(plan, tmp_path):
    extra = 'metrics = "noised"\nmetrics_noise = 0.5\n'
    planned = plan_schedule(plan(extra=extra))
    made = plan(epsilon=(planned.epsilon(5) + planned.epsilon(5, 1)) / 2, extra=extra)
    result = sealora.simulate(made, tmp_path / "run").result
    assert result["stopped"] is None
    assert len(result["train_loss"]) == 5
    assert all(value is None for value in result["metrics"].values())
    shown = Console(file=io.StringIO(), width=400)
    shown.print(final_table(result))
    assert "do not pay for those of the final model" in shown.file.getvalue()


# --- groups ---


@pytest.fixture
def grouped(plan, tiny, tmp_path):
    """A plan for patients with four rows each; two rows are nobody's."""
    lines = tiny.data.read_text().splitlines()
    table = [f"{lines[0]},patient"] + [f"{line},p{number // 4}" for number, line in enumerate(lines[1:])]
    table[1:3] = [line.rpartition(",")[0] + "," for line in table[1:3]]
    path = tmp_path / "patients.csv"
    path.write_text("\n".join(table) + "\n")

    def write(column=True, unit="group", edits=(), **options):
        edits = [("[lora]", 'group_column = "patient"\n\n[lora]')] * column + list(edits)
        extra = f'unit = "{unit}"\n' + options.pop("extra", "")
        return plan(
            extra=extra, edits=[("sites = 5", "sites = 5\nminimum_rows = 2"), *edits], data=path, **options
        )

    return write


@pytest.mark.slow
def test_a_run_that_protects_groups(grouped, tmp_path):
    run = sealora.simulate(grouped().replace(rounds={"count": 1}), tmp_path / "run")
    privacy = run.result["privacy"]
    assert privacy["unit"] == "group"
    assert "Each group of training records of each site has" in privacy["statement"]
    assert "one group with all of its records added or removed" in privacy["statement"]
    assert "no group is at two sites" in privacy["statement"]
    cleaning = [site["cleaning"]["dropped"] for site in run.result["sites"].values()]
    assert sum(dropped.get("missing_group", 0) for dropped in cleaning) == 2
    for path in (tmp_path / "run" / "state" / "ledgers").glob("*.jsonl"):
        assert '"unit":"group"' in path.read_text().splitlines()[0]
    (tmp_path / "p").mkdir()
    leaked = [p for p in (tmp_path / "run").rglob("*") if p.is_file() and b"p17" in p.read_bytes()]
    assert not leaked, "the values of the group column are written nowhere"


@pytest.mark.slow
def test_groups_at_several_natural_sites_lose_at_all_of_them(grouped, tmp_path):
    """Rows of each patient at four of five sites: ε is that of four ledgers together."""
    path = tmp_path / "patients.csv"
    made = grouped(
        edits=[("minimum_rows = 2", 'minimum_rows = 2\npartition = "natural"\npartition_column = "ward"')]
    ).replace(rounds={"count": 1})
    lines = path.read_text().splitlines()
    wards = ["ward"] + [f"w{number % 5}" for number in range(len(lines) - 1)]
    path.write_text("\n".join(f"{line},{ward}" for line, ward in zip(lines, wards, strict=True)) + "\n")
    privacy = sealora.simulate(made, tmp_path / "run").result["privacy"]
    planned = plan_schedule(made)
    assert list(privacy["sites"].values()) == pytest.approx([planned.epsilon(1)] * 5)
    # Four rows in a row of the table are a patient's, so each has rows at four wards.
    assert privacy["epsilon"] == pytest.approx(planned.epsilon(4))
    assert "no group is at more than 4 sites" in privacy["statement"]


def test_a_plan_for_groups_names_their_column(grouped):
    with pytest.raises(PlanError, match=r"privacy\.unit: which rows belong together is not known"):
        grouped(column=False)
    with pytest.raises(PlanError, match=r"data\.group_column: groups of rows are not protected"):
        grouped(unit="record")


# --- ledgers that outlive a run ---


@pytest.mark.slow
def test_runs_on_the_same_ledgers_add_up_until_the_sites_budget_ends(plan, tmp_path):
    """ε for ever pays for seven rounds: five of the first run, two of the second, none of the third."""
    planned = plan_schedule(plan())
    lasting = (planned.epsilon(7) + planned.epsilon(8)) / 2
    shared = f'ledgers = "{tmp_path / "ledgers"}"\nbudgets = {{ "*" = {lasting} }}'
    made = plan(edits=[("sites = 5", f"sites = 5\n{shared}")])
    first = sealora.simulate(made, tmp_path / "first").result
    assert first["stopped"] is None
    assert first["privacy"]["epsilon"] == first["privacy"]["epsilon_all_runs"]
    second = sealora.simulate(made, tmp_path / "second").result
    assert "do not pay for round 3: the model is that of round 2" in second["stopped"]
    assert second["privacy"]["epsilon"] == pytest.approx(planned.epsilon(2))
    assert second["privacy"]["epsilon_all_runs"] == pytest.approx(planned.epsilon(7))
    assert f"({planned.epsilon(7):.4g}, 0.001)-differential" in second["privacy"]["statement"]
    assert second["privacy"]["runs"] == 2
    shown = Console(file=io.StringIO(), width=400)
    shown.print(final_table(second))
    assert f"All 2 runs on these ledgers: ε = {planned.epsilon(7):.4g}." in shown.file.getvalue()
    third = sealora.simulate(made, tmp_path / "third").result
    assert third["train_loss"] == []
    assert third["privacy"]["epsilon"] == 0.0
    assert not (tmp_path / "first" / "state" / "ledgers").exists()


@pytest.mark.slow
def test_ledgers_of_other_rows_are_refused_before_anything_starts(plan, tmp_path):
    shared = [("sites = 5", f'sites = 5\nledgers = "{tmp_path / "ledgers"}"')]
    federation = assemble(plan(edits=shared).replace(secure_aggregation={"enabled": False}), tmp_path / "one")
    federation.sites["site-02"].handle(opening(federation))
    assemble(plan(edits=shared), tmp_path / "two")
    with pytest.raises(RefusedError, match=r"site-02\.jsonl pays for other data than these"):
        assemble(plan(edits=shared).replace(seed=1), tmp_path / "three")


def test_a_budget_of_no_site_is_refused(plan, tmp_path):
    made = plan(edits=[("sites = 5", 'sites = 5\nbudgets = { "site-3" = 1.0 }')])
    with pytest.raises(UsageError, match=r"'site-3', which is no site of this run\. Did you mean 'site-03'"):
        assemble(made, tmp_path / "state")


def test_a_comparison_would_break_the_promise(plan, tmp_path):
    with pytest.raises(UsageError, match=r"without privacy.*Leave out --compare"):
        sealora.simulate(plan(), tmp_path / "run", compare=True)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def federation(plan, tmp_path):
    return assemble(plan().replace(secure_aggregation={"enabled": False}), tmp_path / "state")


def opening(federation, **changes):
    """A coordinator's honest request, but for the changes."""
    from sealora.models.adapter import pack
    from sealora.plan.payload import payload_layout, round_context

    contract = federation.contract
    tensors, layout = pack(federation.initial.tensors), federation.initial.layout
    trains = tuple(spec.name for spec in layout.specs)
    context = round_context(contract.plan, contract.strategy, layout, 1, 5)
    words = payload_layout(contract.plan, contract.strategy, contract.task, context, Work.TRAIN)
    assert {segment.name for segment in words.segments} == {"update/update", "weight"}
    fields = {
        "plan_hash": contract.plan_hash,
        "run": bytes(16),
        "round": 1,
        "attempt": 1,
        "work": Work.TRAIN,
        "model_hash": messages.model_hash(tensors, trains),
        "cohort": tuple(sorted(federation.sites)),
        "quorum": 1,
        "words": words.words,
        "levels": words.levels,
        "lanes": words.lanes_used,
    }
    return messages.request(Open(Header(**{**fields, **changes}).serialise(), tensors, trains))


def test_a_site_pays_once_for_each_release(federation, plan, tmp_path):
    """All rows train; a replay is refused, also by a restarted site, and another attempt costs again."""
    name = min(federation.sites)
    site = federation.sites[name]
    assert not site.data.test
    assert not isinstance(messages.parse_reply(site.handle(opening(federation))), Refusal)
    assert not site.metrics
    restarted = assemble(plan().replace(secure_aggregation={"enabled": False}), tmp_path / "state").sites[
        name
    ]
    for party in (site, restarted):
        answer = messages.parse_reply(party.handle(opening(federation)))
        assert isinstance(answer, Refusal)
        assert answer.reason == Reason.PROTOCOL
    assert len(read_charges(site.purse.path)) == 1
    assert not isinstance(messages.parse_reply(restarted.handle(opening(federation, attempt=2))), Refusal)
    assert [charge.key.attempt for charge in read_charges(site.purse.path)] == [1, 2]


def test_a_site_measures_nothing_on_private_rows(federation):
    site = federation.sites[min(federation.sites)]
    answer = messages.parse_reply(site.handle(opening(federation, work=Work.EVALUATE)))
    assert isinstance(answer, Refusal)
    assert answer.reason == Reason.POLICY
    assert not site.purse.path.exists()


def test_a_site_refuses_by_itself_what_its_budget_does_not_pay(federation):
    site = federation.sites[min(federation.sites)]
    planned = site.purse.schedule
    site.purse = replace(site.purse, budget=replace(planned.budget, epsilon=planned.epsilon(1) * 0.99))
    answer = messages.parse_reply(site.handle(opening(federation)))
    assert isinstance(answer, Refusal)
    assert answer.reason == Reason.BUDGET
    assert read_charges(site.purse.path) == []
    assert math.isfinite(planned.epsilon(1))
