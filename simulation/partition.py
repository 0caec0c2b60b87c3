"""Deals a table's rows to simulated sites, through the partitioners of flwr-datasets."""

import contextlib
import importlib
import io
import itertools
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import datasets
import numpy as np

from sealora.models.table import cell_text, check_column, seeded_order
from sealora.plan.settings import SimulationSettings
from sealora.protocol.errors import DataError, UsageError
from sealora.protocol.keystream import Keystream, derive_key

DRAWS = 10
"""How often a label skew is drawn anew; the partitioner itself draws eleven times in each."""
LONGEST_NAME = 40
"""Characters of a site's name made from a column's value."""
BY_SIZE = {
    "linear": "LinearPartitioner",
    "square": "SquarePartitioner",
    "exponential": "ExponentialPartitioner",
}


def partition(
    table: datasets.Dataset, settings: SimulationSettings, label_column: str, seed: int
) -> dict[str, list[int]]:
    """Row indices of every site by its name, in ascending order; together they are all rows, once each.

    Names are site-01, site-02, … or the values of `partition_column`. The same seed deals the same
    rows. Raises UsageError if a site would have fewer than `minimum_rows` rows.
    """
    if settings.partition == "natural":
        return _natural(table, settings)
    if len(table) < settings.sites * settings.minimum_rows:
        raise UsageError(
            f"{len(table)} rows are too few for {settings.sites} sites of {settings.minimum_rows} or more.",
            f"Use at most {max(len(table) // settings.minimum_rows, 1)} (simulation.sites), or more rows.",
        )
    if settings.partition == "dirichlet":
        parts = _dirichlet(table, settings, label_column, seed)
    else:
        parts = _shuffled(len(table), settings, seed)
    return dict(zip(settings.numbered, map(sorted, parts), strict=True))


def _shuffled(rows: int, settings: SimulationSettings, seed: int) -> list[list[int]]:
    """Parts of equal or growing size after a seeded shuffle (partitioners by size cut, they do not mix)."""
    order = seeded_order(rows, "partition", seed)
    if settings.partition == "iid":
        # As IidPartitioner cuts, which takes minutes for thousands of sites.
        return [part.tolist() for part in np.array_split(order, settings.sites)]
    partitioner = getattr(_partitioners(), BY_SIZE[settings.size_rule])(num_partitions=settings.sites)
    try:
        parts = _parts(partitioner, {"row": order})
    except ValueError:
        parts = [[]]
    smallest = min(map(len, parts))
    if smallest < settings.minimum_rows:
        raise UsageError(
            f"the smallest site would have {smallest} rows, fewer than simulation.minimum_rows = "
            f"{settings.minimum_rows}.",
            'Use fewer sites, more rows, a smaller minimum, or simulation.size_rule = "linear".',
        )
    return parts


def _dirichlet(
    table: datasets.Dataset, settings: SimulationSettings, label_column: str, seed: int
) -> list[list[int]]:
    check_column(table, label_column, "data.label_column")
    labels = [cell_text(value) or "" for value in table[label_column]]
    for draw in range(DRAWS):
        partitioner = _partitioners().DirichletPartitioner(
            num_partitions=settings.sites,
            partition_by="label",
            alpha=settings.dirichlet_alpha,
            min_partition_size=settings.minimum_rows,
            seed=int(Keystream(derive_key("dirichlet", seed, draw)).words32(1)[0]),
        )
        try:
            return _parts(partitioner, {"row": np.arange(len(labels)), "label": labels})
        except ValueError:
            continue
    raise UsageError(
        f"no draw with simulation.dirichlet_alpha = {settings.dirichlet_alpha} gave each of {settings.sites} "
        f"sites {settings.minimum_rows} rows.",
        "Use fewer sites, a larger alpha, a smaller simulation.minimum_rows, or another seed.",
    )


def _natural(table: datasets.Dataset, settings: SimulationSettings) -> dict[str, list[int]]:
    column = settings.partition_column
    if not column:
        raise UsageError('partition = "natural" needs a column.', "Set simulation.partition_column.")
    check_column(table, column, "simulation.partition_column")
    values = [cell_text(value) or "" for value in table[column]]
    if "" in values:
        message = f"{values.count('')} rows have no value in {column!r}, which names their site."
        raise DataError(message, "Fill them in, or leave these rows out.")
    _check_natural_sizes(Counter(values), settings)
    parts = _parts(
        _partitioners().NaturalIdPartitioner("value"), {"row": np.arange(len(values)), "value": values}
    )
    return dict(zip(_readable([values[part[0]] for part in parts]), map(sorted, parts), strict=True))


def _check_natural_sizes(sizes: Counter[str], settings: SimulationSettings) -> None:
    small = [value for value, count in sizes.items() if count < settings.minimum_rows]
    if small:
        raise UsageError(
            f"{len(small)} of {len(sizes)} sites in {settings.partition_column!r} have fewer than "
            f"simulation.minimum_rows = {settings.minimum_rows} rows (the smallest {min(sizes.values())}).",
            "Leave these sites' rows out, use more rows, or set a smaller minimum.",
        )


def _parts(partitioner: Any, columns: dict[str, Any]) -> list[list[int]]:
    """The `row` column of every partition. Raises ValueError where the partitioner does."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        # Partitioners draw progress bars, and warn of draws that miss the minimum: the caller tells.
        warnings.simplefilter("ignore")
        partitioner.dataset = datasets.Dataset.from_dict(columns)
        return [partitioner.load_partition(index)["row"][:] for index in range(partitioner.num_partitions)]


def _partitioners() -> ModuleType:
    try:
        return importlib.import_module("flwr_datasets.partitioner")
    except ImportError:
        message = "dealing rows to simulated sites needs flwr-datasets, which is not installed."
        raise UsageError(message, 'Install it with: pip install "sealora[simulation]"') from None


def _readable(values: Sequence[str]) -> list[str]:
    """A distinct name for every value, of letters, digits, dots, hyphens and underscores."""
    names: dict[str, None] = {}
    for value in values:
        plain = re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFKC", value))
        base = plain.strip("-._")[:LONGEST_NAME].rstrip("-._") or "site"
        numbered = (f"{base}-{number}" for number in itertools.count(2))
        names[next(name for name in itertools.chain([base], numbered) if name not in names)] = None
    return list(names)
