"""A link dials soon again after a connection that lasted, and rarely where each one breaks."""

import asyncio
from pathlib import Path

import grpc
import pytest

from sealora.client import link
from sealora.client.backoff import Backoff
from sealora.client.link import Link, LinkSettings, Lost


class Pipe:
    async def write(self, frame):
        pass


class Call:
    """A stream on which a welcome comes, and later its end."""

    def __init__(self, end):
        self._read = iter((self._welcome, end))

    async def _welcome(self):
        return b"welcome"

    async def read(self):
        return await next(self._read)()

    async def code(self):
        return grpc.StatusCode.UNAVAILABLE

    async def details(self):
        return "Socket closed"


class Watched(Backoff):
    """Tells when it begins again."""

    def __init__(self):
        self.short = asyncio.Event()
        super().__init__()

    def succeeded(self):
        super().succeeded()
        self.short.set()


@pytest.mark.parametrize("steady", [False, True], ids=["it breaks at once", "it lasts"])
def test_waits_are_short_again_once_a_connection_has_lasted(monkeypatch, steady):
    monkeypatch.setattr(link, "STEADY_SECONDS", 0.01 if steady else 60.0)

    async def run():
        backoff = Watched()
        for _ in range(20):
            backoff.next()
        backoff.short.clear()

        async def end():
            if steady:
                await backoff.short.wait()
            return grpc.aio.EOF

        settings = LinkSettings("localhost:1", Path("agent.sock"), lambda: None)
        one = Link(settings, lambda *_, **__: None, backoff)
        with pytest.raises(Lost, match="closed the connection"):
            await one._downwards(Pipe(), Call(end))
        assert backoff.short.is_set() is steady

    asyncio.run(run())
