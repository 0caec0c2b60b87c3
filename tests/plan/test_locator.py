"""The locator against `tomllib`: the same paths, and the lines where they stand."""

import tomllib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sealora.plan.locator import MAX_DEPTH, locate

DOCUMENT = '''\
# [not] = "a table"
title = "x # no comment"   # [nor] = this

[owner.home]
name = 'C:\\path' # literal
"quoted key" = 1
a."b.c".d = { e = [1, 2], "f" = {} }

[clients] # two
data = [
  ["gamma", "]"], # ] no end
  [1, 2,
   3],
]
text = """
[fake]
fake = 1 ""\\""""
raw = \'\'\'
it's "'\'\'\'\'
day = 1979-05-27 07:32:00
days = [1979-05-27 07:32:00, 07:32:00]
escaped = "\\" = ] }"

[[fruits]]
name = "apple"
[fruits.physical]
color = "red"
[[fruits.varieties]]
name = "delicious"
[[fruits.varieties]]
name = "smith"
[[fruits]]
name = "banana"
'''


def paths(value, path=()):
    """Every path of a parsed document, as the locator records them."""
    found = {path} if path else set()
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found |= paths(item, (*path, key))
    return found


def line_of(text):
    return DOCUMENT.split("\n").index(text) + 1


def test_every_path_of_a_document_is_found():
    assert set(locate(DOCUMENT)) == paths(tomllib.loads(DOCUMENT))


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (("title",), line_of('title = "x # no comment"   # [nor] = this')),
        (("owner",), line_of("[owner.home]")),
        (("owner", "home", "quoted key"), line_of('"quoted key" = 1')),
        (("owner", "home", "a", "b.c", "d", "e", 1), line_of('a."b.c".d = { e = [1, 2], "f" = {} }')),
        (("clients", "data", 0, 1), line_of('  ["gamma", "]"], # ] no end')),
        (("clients", "data", 1), line_of("  [1, 2,")),
        (("clients", "data", 1, 2), line_of("   3],")),
        (("clients", "raw"), line_of("raw = '''")),
        (("clients", "days", 1), line_of("days = [1979-05-27 07:32:00, 07:32:00]")),
        (("fruits", 0, "physical", "color"), line_of('color = "red"')),
        (("fruits", 0, "varieties", 1, "name"), line_of('name = "smith"')),
        (("fruits", 1, "name"), line_of('name = "banana"')),
    ],
)
def test_lines(key, line):
    assert locate(DOCUMENT)[key] == line


def test_windows_line_ends_count_once():
    assert locate("a = 1\r\n\r\nb = 2\r\n") == {("a",): 1, ("b",): 3}


def test_paths_deeper_than_any_plan_are_not_kept():
    text = ".".join("a" * 50) + " = 1"
    assert max(map(len, locate(text))) == MAX_DEPTH


PIECES = [
    "a",
    "b-1",
    '"k.\\""',
    "'l'",
    ".",
    " = ",
    "=",
    "\n",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    ",",
    " ",
    "# c\n",
]
PIECES += [
    '"v]"',
    '"""m\n"""',
    "'''n'''",
    "1",
    "true",
    "1979-05-27 07:32:00",
    "x = [1, [2]]\n",
    "y = {a = 1}\n",
    "[t]\n",
]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
@example("[a]\n[a.b]\n[[a.c]]\nx=[]\n[[a.c]]")
@example("a=[ # ]\n]")
@example("a={b=[\n1,\n2]}\nc=''")
def test_agrees_with_tomllib_on_whatever_it_accepts(text):
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(locate(text)) == paths(table)
