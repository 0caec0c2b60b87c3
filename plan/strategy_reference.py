"""What people are told about strategies: `sealora strategies`, and the manual's page.

`python -m sealora.plan.strategy_reference FILE` writes the page.
"""

import inspect
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sealora.models.adapter import AdapterLayout, TensorSpec, values_of
from sealora.plan import schema
from sealora.plan.reference import key_facts, table_row
from sealora.protocol.settings import Settings
from sealora.strategies.product_strategy import DISCLOSES
from sealora.strategies.registry import BUILT_IN, strategy_class
from sealora.strategies.settings import StrategySettings
from sealora.strategies.strategy import Context, Strategy

WIDTH, RANK, SITES = 4096, 8, 8
PAIR = (
    TensorSpec("layer.lora_A.weight", (RANK, WIDTH), "A", "layer"),
    TensorSpec("layer.lora_B.weight", (WIDTH, RANK), "B", "layer"),
)
HEAD = TensorSpec("head.weight", (2, WIDTH))
TITLES = {"A": "A", "B": "B", "R": "R", "W": "W", "other": "head"}


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
    """Values that one of `SITES` sites sends up for each value of A and B, in a wide square layer."""
    download: float
    """Values sent down, likewise."""
    arithmetic: str
    mixed_ranks: bool
    secure_aggregation: str
    """ "yes", or "in groups" where it compares updates, which masks hide, or sums of groups."""
    record_privacy: bool
    discloses: str
    """What the coordinator learns beyond sums of A, B and head; empty for nothing."""
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
        record_privacy=kind.card.record_privacy,
        discloses=kind.card.discloses,
        optimizer="sgd" if kind.card.only_sgd else "any",
        options=tuple(_options(kind.options_class)),
    )


def render() -> str:
    """The whole page as Markdown: a table of the built-in strategies, and a chapter for each."""
    rows = [_row(facts_of(name)) for name in BUILT_IN]
    blocks = [
        _INTRODUCTION.format(discloses=textwrap.fill(DISCLOSES, 110)),
        "\n".join([_HEADER, *rows]),
        *map(_chapter, BUILT_IN),
    ]
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

*up* and *down* count the values that a site sends and receives in a round, for each value of the adapters' A
and B; the head comes on top. They are those of 8 sites, rank 8 and square layers of width 4096; `plan check`
knows those of a plan. *linear* means that the sum of the sites' vectors is all that is needed, so that it
works under secure aggregation as it is. *record privacy* tells whether a plan may give a guarantee with it
(`[privacy]`): whatever is done with a privately trained adapter costs nothing more, but a strategy may need a
site's loss or rows, which are not told then. *personal* tensors never leave their site: each site then
measures its own model, the metrics are sums over those, and there is no one model to evaluate or use
afterwards. No command takes a site's model out of its memory either: these strategies are for research.

*sketch* strategies aggregate the product B·A, which no sum of factors gives. Each site sends two sketches of
its product, M·Ω and Ψ·M, for each module, and their sums give the mean product exactly, as long as the
sketches are as wide as the ranks of all sites and of the model together: that is what `width = 0` in
`[strategy.options]` takes, and a smaller width is refused unless `lossy = true`. The upload grows with the
number of sites, up to the product itself, which is sent where that is smaller; `plan check` says what it is.
Rounding errors are those of a grid of ±`product_range` in each coordinate: the mean product has an error of
at most twice step·√(out·in·n) / Σ w (Frobenius norm; n sites of weights w), which the tests hold it to, and
`metrics.jsonl` tells an estimate of the relative one in each round (`sketch_error`).
{discloses}

*mixed* ranks: `ranks = {{ "site-01" = 4 }}` in `[lora]` gives single sites a smaller adapter than `rank`. All
share the scale alpha / rank, and receive the factors of the largest rank, of which each takes what its own
can hold. The saved adapter of `fedex` and `flora` has the rank that the sum of all rounds takes, and loads
with plain peft.

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
    "record privacy",
    "personal",
    "optimiser",
)
_HEADER = table_row(*_COLUMNS) + "\n" + "|" + "---|" * len(_COLUMNS)
_OPTIONS_HEADER = "| option | type | default | range | meaning |\n|---|---|---|---|---|"


def _row(facts: Facts) -> str:
    return table_row(
        f"[`{facts.name}`](#{facts.name})",
        facts.sends,
        f"{facts.upload:.3g}",
        f"{facts.download:.3g}",
        facts.arithmetic,
        "mixed" if facts.mixed_ranks else "equal",
        facts.secure_aggregation,
        yes(facts.record_privacy),
        facts.personal or "–",
        facts.optimizer,
    )


def _chapter(name: str) -> str:
    facts, kind = facts_of(name), strategy_class(name)
    module = inspect.getdoc(sys.modules[kind.__module__]) or ""
    lines = [f"## {name}", "", f"{facts.summary} Source: {facts.source}.", "", module]
    if facts.discloses:
        lines += ["", facts.discloses]
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
    return Context(strategy.layout(AdapterLayout(specs, RANK), round_number), round_number, SITES, 0)


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
