"""What is wrong with a plan: a key, a reason and a remedy."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from sealora.plan.locator import Key
from sealora.protocol.errors import PlanError

MAX_REPORTED = 50
"""Problems shown of one plan; a plan with more is a different kind of file."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong (or doubtful) about a plan, at one key."""

    key: Key
    reason: str
    remedy: str = ""

    def describe(self, name: str, lines: Mapping[Key, int]) -> str:
        """One line: `name:line: key: reason remedy`, without the line where it is not known."""
        line = _line(self.key, lines)
        where = f"{name}:{line}" if line else name
        parts = [where, dotted(self.key), f"{self.reason} {self.remedy}".rstrip()]
        return ": ".join(part for part in parts if part)


def dotted(key: Key) -> str:
    """The key as people write it: `data.label_map.positive`, `task.labels[1]`."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return printable(text)


def printable(text: str, limit: int = 60) -> str:
    """Text of a plan cut to `limit` characters and freed of control characters, fit for one line."""
    shown = "".join(character if character.isprintable() else "?" for character in text[:limit])
    return shown + ("…" if len(text) > limit else "")


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """A remedy that offers the nearest known word, or else all of them."""
    if not known:
        return "There is none to choose from."
    near = get_close_matches(word[:100], known, n=1)
    if near:
        return f"Did you mean '{printable(near[0])}'?"
    return f"Known: {printable(', '.join(known), 400)}."


def raise_for(problems: Iterable[Problem], name: str, lines: Mapping[Key, int]) -> None:
    """Raises PlanError with one line for each problem, in the order of the lines, if there is any."""
    found = sorted(set(problems), key=lambda problem: (_line(problem.key, lines), dotted(problem.key)))
    if not found:
        return
    shown = [problem.describe(name, lines) for problem in found[:MAX_REPORTED]]
    if len(found) > MAX_REPORTED:
        shown.append(f"{name}: and {len(found) - MAX_REPORTED} more problems.")
    raise PlanError("\n".join(shown))


def _line(key: Key, lines: Mapping[Key, int]) -> int:
    """The line of the key or of the nearest table around it; 0 where nothing is written."""
    for length in range(len(key), 0, -1):
        if key[:length] in lines:
            return lines[key[:length]]
    return 0
