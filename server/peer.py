"""A site as the coordinator's link sees it: present or absent, and what it has been asked."""

import asyncio
from collections.abc import Callable

from sealora.protocol.carrier import Carrier, Stream
from sealora.protocol.channel import Arrived, CoordinatorEnd
from sealora.protocol.errors import ProtocolError
from sealora.protocol.transfer import Content


class Peer:
    """One site of the roster. `arrived` is told of whole replies, `changed` of comings and goings."""

    def __init__(
        self, end: CoordinatorEnd, arrived: Callable[[Arrived], None], changed: Callable[[], None]
    ) -> None:
        self._end = end
        self._carrier = Carrier(end, arrived)
        self._changed = changed
        self._instance = b""
        self.absent_since = asyncio.get_running_loop().time()
        """When it was last seen, by the loop's clock; means nothing while it is connected."""

    @property
    def connected(self) -> bool:
        """Whether it is there now."""
        return self._carrier.connected

    def request(self, content: Content) -> bytes:
        """Send a request, now or when the site connects; returns the exchange's id."""
        exchange = self._end.request(content)
        self._carrier.wake()
        return exchange

    def withdraw(self) -> None:
        """Await no reply any more."""
        self._end.withdraw()

    def readmit(self) -> None:
        """Memory has become free."""
        self._end.readmit()
        self._carrier.wake()

    def require_free(self, instance: bytes) -> None:
        """Raises ProtocolError("twice") if another process of this site is connected."""
        if self.connected and instance != self._instance:
            raise ProtocolError("twice", "another process is connected under this site's name")

    async def serve(self, stream: Stream, instance: bytes) -> None:
        """Use a connection until it ends, or a newer one of the same process takes its place.

        Raises ProtocolError: as `require_free` does, or what the site broke.
        """
        self.require_free(instance)
        if instance != self._instance:
            self._instance = instance
            self._end.restarted()
        loop = asyncio.get_running_loop()
        loop.call_soon(self._changed)
        try:
            await self._carrier.carry(stream)
        finally:
            if not self.connected:
                self.absent_since = loop.time()
                self._changed()
