"""Frames over a connection: in order, one at a time, and the next one made while one leaves."""

import asyncio

import pytest

from sealora.protocol import frames
from sealora.protocol.carrier import Carrier
from sealora.protocol.channel import CoordinatorEnd, SiteEnd
from sealora.protocol.frames import PART_BYTES, Credit, Part
from sealora.protocol.transfer import FIRST_CREDIT, Content

MESSAGE = bytes(range(256)) * (PART_BYTES // 64)
"""Four parts, and credit for a quarter of one before any has come."""


class Slow:
    """A connection whose writes end when the test says so; what is read is put there by the test."""

    def __init__(self):
        self.written = []
        self.arriving = asyncio.Queue()
        self.begun = asyncio.Queue()
        self.may_end = asyncio.Semaphore(0)
        self.writing = 0

    async def read(self):
        return await self.arriving.get()

    async def write(self, raw):
        self.writing += 1
        assert self.writing == 1
        self.written.append(frames.parse(raw))
        self.begun.put_nowait(len(self.written))
        await self.may_end.acquire()
        self.writing -= 1

    def grant(self, exchange, limit):
        self.arriving.put_nowait(Credit(exchange, 0, limit).serialise())


class Broken(Slow):
    async def write(self, raw):
        await super().write(raw)
        raise OSError("gone")


class Lingering(Slow):
    """Takes its time to give up a write."""

    def __init__(self):
        super().__init__()
        self.leaving, self.may_leave = asyncio.Event(), asyncio.Event()

    async def write(self, raw):
        try:
            await super().write(raw)
        finally:
            self.leaving.set()
            await self.may_leave.wait()


class Counted(CoordinatorEnd):
    """Knows how many frames were taken from it."""

    taken = 0

    def next(self):
        frame = super().next()
        self.taken += frame is not None
        return frame


def begun(stream, credit=True):
    """A carrier that sends MESSAGE over this connection, perhaps with credit for all of it."""
    end = Counted()
    carrier = Carrier(end, lambda _: None)
    exchange = end.request(Content(MESSAGE))
    carrying = asyncio.ensure_future(carrier.carry(stream))
    if credit:
        stream.grant(exchange, len(MESSAGE))
    return end, carrier, carrying


def test_a_part_is_made_while_the_one_before_it_leaves():
    async def run():
        stream = Slow()
        end, _, carrying = begun(stream)
        await stream.begun.get()
        while end.taken < 2:
            await asyncio.sleep(0)
        assert len(stream.written) == 1
        for _ in range(10):
            stream.may_end.release()
        while not stream.written[-1].digest:
            await stream.begun.get()
        stream.arriving.put_nowait(None)
        await carrying
        return stream.written

    written = asyncio.run(run())
    assert all(isinstance(part, Part) for part in written)
    assert [part.offset for part in written] == sorted(part.offset for part in written)
    assert b"".join(bytes(part.data) for part in written) == MESSAGE


@pytest.mark.parametrize("credit", [True, False], ids=["with more to send", "without credit for more"])
def test_a_write_that_fails_ends_the_connection(credit):
    """Also the last one, after which nothing is sent that would show it."""

    async def run():
        stream = Broken()
        _, _, carrying = begun(stream, credit)
        await stream.begun.get()
        assert credit or len(stream.written[0].data) == FIRST_CREDIT
        stream.may_end.release()
        with pytest.raises(OSError, match="gone"):
            await carrying

    asyncio.run(run())


def test_a_connection_takes_the_place_of_one_that_is_stuck_and_loses_nothing():
    async def run():
        stuck, fresh, arrived = Slow(), Slow(), []
        _, carrier, carrying = begun(stuck)
        await stuck.begun.get()
        second = asyncio.ensure_future(carrier.carry(fresh))
        await carrying
        site = SiteEnd()
        while not arrived:
            await fresh.begun.get()
            fresh.may_end.release()
            arrived += [message] if (message := site.receive(fresh.written[-1])) else []
            if (credit := site.next()) is not None:
                fresh.arriving.put_nowait(credit.serialise())
        fresh.arriving.put_nowait(None)
        await second
        return arrived

    (message,) = asyncio.run(run())
    assert message.message == MESSAGE


def test_a_connection_may_come_while_the_one_before_is_being_torn_down():
    async def run():
        ended, fresh = Lingering(), Slow()
        _, carrier, carrying = begun(ended)
        await ended.begun.get()
        ended.arriving.put_nowait(None)
        await ended.leaving.wait()
        second = asyncio.ensure_future(carrier.carry(fresh))
        await asyncio.sleep(0)
        assert not second.done(), "it is in use, or has failed"
        ended.may_leave.set()
        await carrying
        assert carrier.connected
        fresh.arriving.put_nowait(None)
        await second
        assert not carrier.connected

    asyncio.run(run())
