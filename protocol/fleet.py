"""How the coordinator reaches sites: one method, whatever carries the bytes."""

from collections.abc import Iterator, Mapping
from typing import Protocol


class Fleet(Protocol):
    """A set of sites that answer requests."""

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the registered sites, sorted."""

    def exchange(self, requests: Mapping[str, bytes], deadline: float) -> Iterator[tuple[str, bytes]]:
        """Send each site its request and yield (site, reply) as replies come.

        `deadline` is in seconds from now; sites that have not answered by then are left out. A
        site answers at most once. The iterator may be abandoned early.
        """
