"""`sealora strategies`: what there is to choose from."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sealora.plan.strategy_reference import Facts, facts_of, yes
from sealora.strategies.registry import registered


def strategies(
    name: Annotated[str | None, typer.Argument(help="One strategy; none lists all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List strategies: what sites send, what works with them, and their options."""
    chosen = [facts_of(one) for one in ([name] if name else registered())]
    if as_json:
        found = [asdict(facts) for facts in chosen]
        print(json.dumps(found[0] if name else found, indent=2, ensure_ascii=False))
    elif name:
        _show(chosen[0])
    else:
        _list(chosen)


def _list(chosen: list[Facts]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("name", "sends", "up", "down", "personal", "summary"):
        table.add_column(column, justify="right" if column in ("up", "down") else "left")
    for facts in chosen:
        table.add_row(
            Text(facts.name),
            Text(facts.sends),
            f"{facts.upload:.3g}",
            f"{facts.download:.3g}",
            Text(facts.personal),
            Text(facts.summary),
        )
    Console().print(table)
    print(
        "\nup, down: values for each value of A and B, among 8 sites. `sealora strategies NAME` tells more."
    )


def _show(facts: Facts) -> None:
    rows = [
        ("", facts.summary),
        ("source", facts.source),
        (
            "sends",
            f"{facts.sends}: {facts.upload:.3g} values up, {facts.download:.3g} down for each of A and B",
        ),
        ("personal", facts.personal or "nothing: there is one model for all"),
        ("arithmetic", f"{facts.arithmetic}; {'mixed' if facts.mixed_ranks else 'equal'} ranks"),
        ("works with", _companions(facts)),
        *([("discloses", facts.discloses)] if facts.discloses else []),
    ]
    print(facts.name)
    for title, text in rows:
        print(f"  {title:<11} {text}".rstrip())
    for option in facts.options:
        limits = f" ({option.range})" if option.range else ""
        print(f"  options.{option.key} = {option.default}{limits}: {option.meaning}")


def _companions(facts: Facts) -> str:
    return (
        f"secure aggregation: {facts.secure_aggregation}; record-level privacy: "
        f"{yes(facts.record_privacy)}; local optimiser: {facts.optimizer}"
    )
