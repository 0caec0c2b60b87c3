"""What people are told about strategies: `sealora strategies`, and the manual's page.

`python -m sealora.plan.strategy_reference FILE` writes the page.
"""

import inspect
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sealora.models.adapter import AdapterLayout, TensorSpec, values_of
from sealora.plan import schema
from sealora.plan.reference import key_facts, table_row
from sealora.protocol.settings import Settings
from sealora.strategies.registry import BUILT_IN, strategy_class
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import Context, Strategy

WIDTH, RANK = 64, 4
PAIR = (
    TensorSpec("layer.lora_A.weight", (RANK, WIDTH), "A", "layer"),
    TensorSpec("layer.lora_B.weight", (WIDTH, RANK), "B", "layer"),
)
HEAD = TensorSpec("head.weight", (2, WIDTH))
TITLES = {"A": "A", "B": "B", "other": "head"}


@dataclass(frozen=True)
class Option:
    """A key of `[strategy.options]`, in words."""

    key: str
    type: str
    default: str
    range: str
    meaning: str


@dataclass(frozen=True)
class Facts:
    """A strategy in words and numbers."""

    name: str
    summary: str
    source: str
    sends: str
    """What goes up, "/" between odd and even rounds that differ."""
    personal: str
    """What never leaves a site; empty for nothing."""
    upload: float
    """Values sent up for each value of A and B, in a layer whose A and B have as many."""
    download: float
    """Values sent down, likewise."""
    arithmetic: str
    mixed_ranks: bool
    secure_aggregation: str
    """ "yes", or "in groups" where it compares updates, which masks hide, or sums of groups."""
    record_privacy: bool
    optimizer: str
    """Local optimisers that it allows."""
    options: tuple[Option, ...]


def facts_of(name: str) -> Facts:
    """What is to be known of a registered strategy. Raises PlanError for an unknown one."""
    kind = strategy_class(name)
    strategy = kind(StrategySettings(name=name))
    sent = [_sent(strategy, number) for number in (1, 2)]
    return Facts(
        name=name,
        summary=kind.card.summary,
        source=kind.card.source,
        sends=" / ".join(dict.fromkeys(sent)),
        personal=_titles(_context(strategy, 1, (HEAD, *PAIR)).layout.of_kind("personal")),
        upload=_share(sum(part.length for part in strategy.parts(_context(strategy, 1, PAIR)))),
        download=_share(values_of(strategy.broadcast(_context(strategy, 1, PAIR)))),
        arithmetic=kind.card.arithmetic,
        mixed_ranks=kind.card.mixed_ranks,
        secure_aggregation=_SECURE[kind.card.arithmetic],
        record_privacy=True,
        optimizer="sgd" if kind.card.only_sgd else "any",
        options=tuple(_options(kind.options_class)),
    )


def render() -> str:
    """The whole page as Markdown: a table of the built-in strategies, and a chapter for each."""
    rows = [_row(facts_of(name)) for name in BUILT_IN]
    blocks = [_INTRODUCTION, "\n".join([_HEADER, *rows]), *map(_chapter, BUILT_IN)]
    return "\n\n".join(blocks) + "\n"


def yes(condition: bool) -> str:
    """A fact for a table."""
    return "yes" if condition else "no"


_INTRODUCTION = """\
# Strategies

A strategy says what sites send and what the coordinator does with the sum: `[strategy] name = "fedavg"` in a
plan, with keys of its own in `[strategy.options]`. `sealora strategies` prints this table, those of installed
packages included, and `sealora strategies NAME` one of them.
[Writing a strategy](strategies-interface.md) tells how to add another.

*up* and *down* count the values that a site sends and receives in a round, for each value of the adapters'
A and B where both are equally large; the head comes on top. *linear* means that the sum of the sites' vectors
is all that is needed, so that it works under secure aggregation as it is. Record-level privacy works with
each of them, since whatever is done with a privately trained adapter costs nothing more. *personal* tensors
never leave their site: each site then measures its own model, the metrics are sums over those, and there is
no one model to evaluate or use afterwards.

*robust* strategies withstand malicious sites, because they compare: single updates, which secure aggregation
hides and therefore excludes, or, with `groups = N` in `[strategy.options]`, the sums of fixed groups, each a
secure session of its own. The coordinator then learns the sum of each group; an attacker spoils its own group
at most, so N groups withstand (N - 1) / 2 attackers, wherever they are. [The threat model](threat-model.md)
tells what that costs. All sites count equally in them.

With `rank = 0` in `[lora]` the head alone is trained, by every strategy that does not treat A and B apart.

This page is made from the code by `python -m sealora.plan.strategy_reference docs/strategies.md`."""
_SECURE = {"linear": "yes", "sketch": "yes", "robust": "in groups"}
_COLUMNS = (
    "name",
    "sends",
    "up",
    "down",
    "arithmetic",
    "ranks",
    "secure aggregation",
    "personal",
    "optimiser",
)
_HEADER = table_row(*_COLUMNS) + "\n" + "|" + "---|" * len(_COLUMNS)
_OPTIONS_HEADER = "| option | type | default | range | meaning |\n|---|---|---|---|---|"


def _row(facts: Facts) -> str:
    return table_row(
        f"[`{facts.name}`](#{facts.name})",
        facts.sends,
        f"{facts.upload:g}",
        f"{facts.download:g}",
        facts.arithmetic,
        "mixed" if facts.mixed_ranks else "equal",
        facts.secure_aggregation,
        facts.personal or "–",
        facts.optimizer,
    )


def _chapter(name: str) -> str:
    facts, kind = facts_of(name), strategy_class(name)
    module = inspect.getdoc(sys.modules[kind.__module__]) or ""
    lines = [f"## {name}", "", f"{facts.summary} Source: {facts.source}.", "", module]
    if facts.options:
        rows = [table_row(*key_facts(key, info)) for key, info in schema.fields(kind.options_class).items()]
        lines += ["", _OPTIONS_HEADER, *rows]
    return "\n".join(lines)


def _options(kind: type[Settings]) -> Iterable[Option]:
    for name, info in schema.fields(kind).items():
        key, type_, default, limits, meaning = key_facts(name, info)
        plain = [text.replace("`", "") for text in (key, type_, default, limits)]
        yield Option(plain[0], plain[1], plain[2], plain[3], meaning)


def _context(strategy: Strategy, round_number: int, specs: tuple[TensorSpec, ...]) -> Context:
    return Context(strategy.layout(AdapterLayout(specs, RANK), round_number), round_number, 2, 0)


def _sent(strategy: Strategy, round_number: int) -> str:
    """Titles of the shared tensors, and the names of parts beyond the first, which holds those."""
    context = _context(strategy, round_number, (HEAD, *PAIR))
    others = [part.name.rpartition("/")[2] for part in strategy.parts(context)[1:]]
    return ", ".join([_titles(context.layout.of_kind("shared")), *others])


def _titles(specs: Iterable[TensorSpec]) -> str:
    return ", ".join(sorted(TITLES[spec.role] for spec in specs))


def _share(values: int) -> float:
    return values / values_of(PAIR)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(), encoding="utf-8")
