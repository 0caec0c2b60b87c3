"""`sealora ledger`: read, verify and export the privacy ledgers of sites."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from sealora.cli.logs import show_verified, verified
from sealora.privacy.chain import read_chain
from sealora.privacy.conversions import epsilon_at_once
from sealora.privacy.events import Relation, require_delta
from sealora.privacy.ledger import LEDGER, Charge, read_charges, read_header
from sealora.protocol.errors import UsageError

RELATIONS: dict[str, Relation] = {"add-remove": "add-remove", "replace-one": "replace-one"}

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Read, verify and export privacy ledgers.")

LedgerPath = Annotated[
    Path, typer.Argument(metavar="PATH", help="A ledger file, a folder of ledgers, or a run folder.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def show(
    path: LedgerPath,
    delta: Annotated[float, typer.Option(min=1e-12, max=0.5, help="δ at which ε is computed.")] = 1e-5,
    accountant: Annotated[str, typer.Option(help="pld or rdp.")] = "pld",
    relation: Annotated[
        str,
        typer.Option(help="What the promise is about: add-remove (one more or less) or replace-one."),
    ] = "add-remove",
    group: Annotated[
        int, typer.Option(min=1, max=1000, help="For somebody with so many records, or groups, at once.")
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Print what each ledger was charged with, and the ε of each run and of all together.

    Plans promise for one record, or group, that is there or not. `--relation replace-one` tells what follows
    for one whose contents change, and `--group 3` for somebody with three of them; ε is larger for both.
    """
    # Imported here because the accountants take a second to load.
    from sealora.privacy.accountants import ACCOUNTANTS

    if accountant not in ACCOUNTANTS:
        raise UsageError(f"there is no accountant {accountant!r}.", f"Known: {', '.join(ACCOUNTANTS)}.")
    if relation not in RELATIONS:
        raise UsageError(f"there is no relation {relation!r}.", f"Known: {', '.join(RELATIONS)}.")
    require_delta(delta)

    def spent(charges: list[Charge]) -> float | None:
        events = [charge.event for charge in charges]
        epsilon = epsilon_at_once(ACCOUNTANTS[accountant], RELATIONS[relation], events, group, delta)
        return epsilon if math.isfinite(epsilon) else None

    asked = {"delta": delta, "relation": relation, "group": group}
    rows = [{**_row(file, spent), **asked} for file in _files(path)]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        whom = _whom(row["unit"], relation, group)
        found = f"{_epsilon(row['epsilon'])} at δ = {delta:g} for {whom}"
        print(f"{row['ledger']}: {found}, {row['charges']} charges{row['last']}")
        for run, own in row["runs"].items() if len(row["runs"]) > 1 else ():
            print(f"  run {run}: {_epsilon(own['epsilon'])} by itself, {own['charges']} charges")


@app.command()
def verify(path: LedgerPath, as_json: AsJson = False) -> None:
    """Check every link of each ledger, and print its head.

    A file cut back to an earlier line verifies: compare its head with one that was noted before, such as
    those that the coordinator kept in state/heads.jsonl.
    """
    rows = []
    for file in _files(path):
        read_header(file)
        read_charges(file)
        rows.append({**verified(file, LEDGER), "ledger": file.stem})
    show_verified(rows, as_json)


@app.command()
def export(path: LedgerPath) -> None:
    """Print ledgers as JSON for an auditor: data set, unit, head and every charge."""
    print(json.dumps([_exported(file) for file in _files(path)], indent=2))


def _row(file: Path, spent: Callable[[list[Charge]], float | None]) -> dict[str, Any]:
    """What a ledger comes to. Losses of its runs add up by less than ε does, so all are composed anew."""

    def entry(own: list[Charge]) -> dict[str, Any]:
        return {"charges": len(own), "epsilon": spent(own)}

    header, charges = read_header(file), read_charges(file)
    by_run: dict[str, list[Charge]] = {}
    for charge in charges:
        by_run.setdefault(charge.key.run, []).append(charge)
    return {
        "ledger": file.stem,
        "unit": header.get("unit", "record"),
        "last": _last(charges),
        **entry(charges),
        "runs": {run: entry(own) for run, own in by_run.items()},
    }


def _whom(unit: str, relation: str, group: int) -> str:
    many = f"each {unit}" if group == 1 else f"any {group} {unit}s at once"
    return f"{many} that {'is' if group == 1 else 'are'} replaced" if relation == "replace-one" else many


def _epsilon(epsilon: float | None) -> str:
    return "no bound on ε" if epsilon is None else f"ε = {epsilon:.4g}"


def _exported(file: Path) -> dict[str, object]:
    header, lines = read_header(file), list(read_chain(file, LEDGER))
    charges = [charge.entry() for charge in read_charges(file)]
    return {**header, "head": lines[-1][1].hex(), "charges": charges}


def _files(path: Path) -> list[Path]:
    """The ledger itself, those of a run folder, or those of a folder. Raises UsageError if there is none."""
    if path.is_file():
        return [path]
    own = path / "state" / "ledgers"
    files = sorted((path if not own.exists() and not (path / "run.json").exists() else own).glob("*.jsonl"))
    if not files:
        raise UsageError(
            f"there is no ledger at {path}.",
            "Name a ledger file, the folder of a run with a guarantee, or the plan's simulation.ledgers.",
        )
    return files


def _last(charges: list[Charge]) -> str:
    return f", the last for {charges[-1].key}" if charges else ""
