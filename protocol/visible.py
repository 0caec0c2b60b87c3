"""Text from others on a screen: what could forge a line, hide one or reverse one is not shown.

Control characters move a terminal's cursor and clear its lines, line and paragraph separators begin new
ones, format characters are invisible or reverse what follows, and half a surrogate pair cannot be encoded.
"""

import unicodedata

HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's general categories of such characters; letters of every script are in others."""


def first_hidden(text: str) -> str:
    """The first character that a reader would not see as itself, as U+XXXX; empty if there is none."""
    found = next((character for character in text if unicodedata.category(character) in HIDDEN), "")
    return f"U+{ord(found):04X}" if found else ""


def visible(text: str) -> str:
    """The text on one line, with a question mark for each character that a reader would not see."""
    return "".join("?" if unicodedata.category(character) in HIDDEN else character for character in text)


def shortened(text: str, most: int) -> str:
    """At most so many characters of it, the last of which then is an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"
