"""A table's digest: the rows decide, not their order."""

import datasets
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora.models.fingerprint import table_digest

CELLS = st.one_of(st.none(), st.text(max_size=5))
TABLES = st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5)


def digest(rows, names=("text", "label")):
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    return table_digest(datasets.Dataset.from_dict(columns))


@settings(deadline=None, max_examples=25)
@given(TABLES, st.randoms())
def test_the_order_of_rows_and_columns_does_not_count(rows, shuffle):
    mixed = list(rows)
    shuffle.shuffle(mixed)
    assert digest(rows) == digest(mixed) == digest([row[::-1] for row in mixed], ("label", "text"))


@settings(deadline=None, max_examples=25)
@given(TABLES, TABLES)
def test_other_rows_have_another_digest(one, other):
    assert (digest(one) == digest(other)) == (sorted(one, key=repr) == sorted(other, key=repr))


def test_columns_and_repetitions_count():
    assert digest([("a", "b")]) != digest([("a", "b")], ("text", "class"))
    assert digest([("a", "b")]) != digest([("a", "b")] * 2)


def test_any_kind_of_cell():
    table = datasets.Dataset.from_dict({"a": [1, 2], "b": [[1.5], []], "c": [b"x", None], "d": [True, False]})
    assert len(table_digest(table)) == 32
