"""How long to wait before the next try: longer each time, and never all sites at once."""

import random

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 30.0


class Backoff:
    """Exponential with full jitter: uniform between zero and a bound that doubles up to `longest`."""

    def __init__(self, first: float = FIRST_SECONDS, longest: float = LONGEST_SECONDS) -> None:
        self._first = first
        self._longest = longest
        self._random = random.SystemRandom()
        self.succeeded()

    def succeeded(self) -> None:
        """Begin again with short waits."""
        self._bound = self._first

    def next(self) -> float:
        """Seconds to wait now."""
        bound, self._bound = self._bound, min(self._longest, 2 * self._bound)
        return self._random.uniform(0, bound)
