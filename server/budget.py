"""Memory for replies on their way: how many large ones may arrive at the same time."""

from collections.abc import Hashable


class Budget:
    """Bytes promised by owner, each for one reply.

    One reply is admitted always, whatever its size, so that none starves.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[Hashable, int] = {}

    def take(self, owner: Hashable, size: int) -> bool:
        """Promise an owner so many bytes; False if there is no room now."""
        used = sum(promised for other, promised in self._held.items() if other != owner)
        if used and used + size > self._limit:
            return False
        self._held[owner] = size
        return True

    def free(self, owner: Hashable) -> bool:
        """Take back what an owner was promised; False if it was nothing."""
        return self._held.pop(owner, None) is not None
