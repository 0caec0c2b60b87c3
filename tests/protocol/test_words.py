"""The list of words is frozen, and its words cannot be taken for one another."""

import hashlib
from itertools import combinations

from sealora.protocol.words import WORDS, spoken


def distance(one, other):
    """Fewest letters to change, insert or leave out (Levenshtein)."""
    row = list(range(len(other) + 1))
    for number, left in enumerate(one, 1):
        before, row[0] = row[0], number
        for place, right in enumerate(other, 1):
            before, row[place] = (
                row[place],
                min(row[place] + 1, row[place - 1] + 1, before + (left != right)),
            )
    return row[-1]


def test_a_byte_is_a_word():
    assert len(set(WORDS)) == 256
    assert sorted(WORDS) == WORDS
    assert spoken(bytes([0, 1, 255, 0, 9]), 5) == "acorn adobe zenith acorn  ashes"
    assert spoken(bytes(32), 2) == "acorn acorn"


def test_the_list_is_frozen():
    digest = hashlib.sha256(" ".join(WORDS).encode()).hexdigest()
    assert digest == "46f97aab92c2b09294e47eb01d49d6fb15ec93e507b33f086d7464df835f1b3c"


def test_words_are_told_apart():
    assert len({word[:3] for word in WORDS}) == 256
    assert all(distance(one, other) >= 3 for one, other in combinations(WORDS, 2))
