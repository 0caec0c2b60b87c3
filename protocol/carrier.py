"""Carries frames between an end of a link and whatever connects it, one connection after the other."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from sealora.protocol import frames
from sealora.protocol.channel import Arrived, Channel
from sealora.protocol.frames import Part
from sealora.protocol.long_fields import Bytes


class Stream(Protocol):
    """A connection that keeps frames apart and in order."""

    async def read(self) -> Bytes | None:
        """The next frame, good until the next is read; None at the end."""

    async def write(self, frame: bytes) -> None:
        """Send a frame; returns when there is room for more."""


class Carrier:
    """Tells `arrived` of each whole message. The end itself does not care which connection it is on."""

    def __init__(self, end: Channel, arrived: Callable[[Arrived], None]) -> None:
        self._end = end
        self._arrived = arrived
        self._wake = asyncio.Event()
        self._current: asyncio.Future[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._current is not None

    def wake(self) -> None:
        """The end has something new to send."""
        self._wake.set()

    async def carry(self, stream: Stream) -> None:
        """Use a connection until it ends, or another takes its place.

        Raises ProtocolError if the peer broke the protocol, and what the stream raises.
        """
        # One that is being torn down has ended already, but not left yet.
        if self._current is not None and not self._current.done():
            self._current.set_result(None)
        current = self._current = asyncio.get_running_loop().create_future()
        self._end.reconnected()
        self._wake.set()
        try:
            await first_to_end(self._read(stream, current), self._write(stream, current), current)
        finally:
            if self._current is current:
                self._current = None

    async def _read(self, stream: Stream, current: asyncio.Future[None]) -> None:
        while (raw := await stream.read()) is not None and self._current is current:
            message = self._end.receive(frames.parse(raw))
            self._wake.set()
            if message is not None:
                self._arrived(message)

    async def _write(self, stream: Stream, current: asyncio.Future[None]) -> None:
        """Frames leave one after the other; while one does, the next is made and hashed."""
        leaving = asyncio.ensure_future(asyncio.sleep(0))
        try:
            while self._current is current:
                # A frame that is taken here must not be lost to a connection that has been replaced.
                frame = self._end.next()
                if frame is None:
                    self._wake.clear()
                    await leaving
                    await self._wake.wait()
                    continue
                raw = frame.serialise()
                await leaving
                if isinstance(frame, Part) and not frame.digest:
                    leaving = asyncio.ensure_future(stream.write(raw))
                    await asyncio.sleep(0)  # it begins
                else:
                    await stream.write(raw)
        finally:
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)


async def first_to_end(*works: Awaitable[None]) -> None:
    """Run all until one ends, and end as it does; the others are cancelled."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    done.pop().result()
