"""`sealora plan`: write, check and show plans."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sealora.cli.colour import print_red
from sealora.plan.affordable import TIMES
from sealora.plan.contract import resolved
from sealora.plan.loader import Plan, load
from sealora.plan.starter import starter
from sealora.plan.writer import dumps
from sealora.protocol.errors import UsageError

if TYPE_CHECKING:
    from sealora.plan.forecast import Forecast

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Write, check and show plans.")

PlanPath = Annotated[Path, typer.Argument(metavar="PLAN", help="The plan, a TOML file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
UNMASKED = "none: the coordinator sees the update of every site"


@app.command()
def new(
    path: Annotated[Path, typer.Argument(help="Where to write the plan.")] = Path("plan.toml"),
    task: Annotated[str, typer.Option(help="What the model learns to do.")] = "classification",
    model: Annotated[str, typer.Option(help="The base model; one for the task by default.")] = "",
    epsilon: Annotated[
        float, typer.Option(help="Protect single rows by differential privacy with this ε, such as 8.")
    ] = 0.0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a small plan with explanations to start from."""
    text = starter(task, model, epsilon)
    Plan.from_text(text, "the new plan")
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} exists.", "Name another file, or overwrite it with --force.") from None
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise UsageError(
            f"{path} cannot be written ({error.strerror}).", "Name a file in an existing folder."
        ) from None
    print(f"Wrote {path}. Next: sealora plan check {path}")


@app.command()
def check(path: PlanPath, as_json: AsJson = False) -> None:
    """Check a plan and print what it will cost."""
    plan = load(path)
    # Imported here because reading a model's configuration takes torch.
    from sealora.plan.forecast import forecast, measure_flops

    expected = forecast(plan, measure_flops(plan.training.threads))
    warnings = [*plan.warnings]
    if expected.privacy is not None and expected.privacy.shortfall:
        warnings.append(expected.privacy.shortfall)
    if as_json:
        print(json.dumps({"hash": plan.hash, "warnings": warnings, "forecast": asdict(expected)}, indent=2))
        return
    print(f"{path} is valid; contract {plan.hash}")
    for name, value in _rows(expected):
        (print_red if value == UNMASKED else print)(f"  {name:<11} {value}")
    for line in warnings:
        print(f"warning: {line}")


@app.command()
def show(
    path: PlanPath,
    as_json: AsJson = False,
    only_hash: Annotated[bool, typer.Option("--hash", help="Print the contract's hash alone.")] = False,
) -> None:
    """Print a plan with every default filled in, and the hash of its contract."""
    plan = load(path)
    if as_json:
        print(
            json.dumps(
                {"hash": plan.hash} if only_hash else {"hash": plan.hash, "plan": resolved(plan)}, indent=2
            )
        )
    elif only_hash:
        print(plan.hash)
    else:
        print(f"# contract {plan.hash} (before the base model's hash joins it)\n\n{dumps(plan)}", end="")


def _rows(expected: "Forecast") -> list[tuple[str, str]]:
    rows = [
        (
            "parameters",
            f"{expected.parameters_trained:,} trained, {expected.parameters_sent:,} sent"
            f"{_personal(expected)}; {expected.base_parameters:,} in the base's layers",
        ),
        (
            "upload",
            f"{expected.words:,} words, {_size(expected.bytes_up)} per site and round, "
            f"{expected.bytes_up / expected.parameters_sent:.2f} bytes for each value sent",
        ),
        ("download", f"{_size(expected.bytes_down)} per site and round"),
        ("products", _products(expected)),
        ("discloses", expected.discloses),
        ("masks", _masks(expected)),
        ("privacy", _privacy(expected)),
        ("amplified", expected.privacy.amplification if expected.privacy is not None else ""),
        ("at once", _at_once(expected)),
        ("traffic", f"{_size(_traffic(expected))} for {expected.rounds} rounds of {expected.sites} sites"),
        (
            "time",
            f"roughly {_duration(expected.seconds_per_round)} per site and round, "
            f"{_duration(expected.seconds)} simulated here (assumes {expected.assumption})",
        ),
    ]
    return [(name, value) for name, value in rows if value]


def _products(expected: "Forecast") -> str:
    """How products of factors travel; empty for a strategy that sends none."""
    sketches = expected.sketches
    if sketches is None:
        return ""
    cost = f"{sketches.values:,} values sent for them, {sketches.values / sketches.factors:.3g} times A and B"
    if not sketches.sketched:
        return f"{sketches.dense} sent as they are, without loss; {cost}"
    loss = (
        f"exact: {sketches.needed} suffice"
        if sketches.width >= sketches.needed
        else f"LOSSY: {sketches.needed} would be exact, and each round tells the error"
    )
    dense = f", {sketches.dense} sent as they are" if sketches.dense else ""
    return f"{sketches.sketched} sketched with width {sketches.width} ({loss}){dense}; {cost}"


def _personal(expected: "Forecast") -> str:
    if not expected.parameters_personal:
        return ""
    return f", {expected.parameters_personal:,} personal (each site measures its own model)"


def _masks(expected: "Forecast") -> str:
    masks = expected.masks
    if masks is None:
        return UNMASKED
    dropouts = ", ".join(f"{count} in {phase}" for phase, count in masks.dropouts.items())
    groups = (
        f"{masks.groups} groups, the coordinator sees the sum of each; in the smallest "
        if masks.groups
        else ""
    )
    return (
        f"{groups}{masks.sites} sites, {masks.colluders} may collude with a {masks.adversary} coordinator"
        f"{_follows(masks.adversary)}, {masks.holders} hold a secret together, "
        f"a sum needs {masks.minimum_contributors}; may be lost: {dropouts}"
    )


def _follows(adversary: str) -> str:
    """What is meant by a weak adversary."""
    return " (one that follows the protocol)" if adversary == "semi-honest" else ""


def _privacy(expected: "Forecast") -> str:
    cost = expected.privacy
    if cost is None:
        return "no guarantee for records or groups of them"
    paid = cost.affordable_rounds
    rounds = f"{paid} of them" if paid < expected.rounds else "all of them"
    if paid > expected.rounds:
        rounds += f", and for {paid}" + (" or more" if paid >= TIMES * expected.rounds else "")
    metrics = f", {cost.metrics_noise:.3g} for metrics" if cost.metrics_noise is not None else ""
    return (
        f"(ε = {cost.epsilon_total:.3g}, δ = {cost.delta:g}) for each {cost.unit} "
        f"after {expected.rounds} rounds, "
        f"{cost.epsilon_first_round:.3g} after the first; the sites' budgets pay for {rounds} (the plan's is "
        f"{cost.budget:g}). "
        f"Noise multiplier {cost.noise_multiplier:.3g}{metrics}, {cost.steps_per_round} steps a round, "
        f"noise {cost.noise_to_signal:.2g} times the signal of a step. {cost.verdict}"
    )


def _at_once(expected: "Forecast") -> str:
    """What the guarantee means for more than one unit that is added or removed; empty without one."""
    cost = expected.privacy
    if cost is None:
        return ""
    replaced, pair = (
        "no bound" if epsilon is None else f"ε = {epsilon:.3g}"
        for epsilon in (cost.epsilon_replaced, cost.epsilon_pair)
    )
    return f"{replaced} for a {cost.unit} that is replaced, {pair} for somebody with two; the same δ"


def _traffic(expected: "Forecast") -> int:
    return (expected.bytes_up + expected.bytes_down) * expected.rounds * expected.sites


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
