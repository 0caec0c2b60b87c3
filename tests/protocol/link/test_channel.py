"""The two ends of a link: every message arrives once and whole, whatever breaks on the way."""

import hashlib
from collections import deque
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sealora.protocol import frames, transfer
from sealora.protocol.channel import Arrived, CoordinatorEnd, SiteEnd
from sealora.protocol.errors import ProtocolError
from sealora.protocol.frames import PART_BYTES, Credit, Hello, Part
from sealora.protocol.transfer import FIRST_CREDIT, WINDOW, Content, Outgoing


def message(size, seed=b""):
    return hashlib.shake_128(seed + b"message").digest(size)


def frames_of(end):
    while frame := end.next():
        yield frame


def exchange(sender, receiver):
    """Carry frames to and fro until both are silent; returns what arrived, and the frames."""
    arrived, carried = [], []
    silent = False
    while not silent:
        silent = True
        for one, other in ((sender, receiver), (receiver, sender)):
            for frame in frames_of(one):
                silent = False
                carried.append(frame)
                result = other.receive(frames.parse(frame.serialise()))
                arrived += [result] if result else []
    return arrived, carried


def bytes_of(carried):
    return sum(len(frame.data) for frame in carried if isinstance(frame, Part))


@pytest.mark.parametrize(
    "size",
    [1, FIRST_CREDIT - 1, FIRST_CREDIT, FIRST_CREDIT + 1, PART_BYTES + 1, WINDOW + FIRST_CREDIT + 12345],
)
def test_a_request_and_its_reply_arrive_whole_and_once(size):
    coordinator, site = CoordinatorEnd(), SiteEnd()
    request, reply = message(size), message(size, b"reply")
    name = coordinator.request(Content(request))
    arrived, carried = exchange(coordinator, site)
    assert arrived == [Arrived(name, request, hashlib.sha256(request).digest())]
    assert bytes_of(carried) == size
    site.answer(name, reply)
    arrived, carried = exchange(coordinator, site)
    assert arrived == [Arrived(name, reply, hashlib.sha256(reply).digest())]
    assert bytes_of(carried) == size
    assert exchange(coordinator, site) == ([], [])


def test_a_short_message_is_one_frame_and_one_confirmation():
    coordinator, site = CoordinatorEnd(), SiteEnd()
    coordinator.request(Content(b"short"))
    _, carried = exchange(coordinator, site)
    assert [type(frame) for frame in carried] == [Part, Credit]


def test_a_broken_transfer_goes_on_where_it_was():
    coordinator, site = CoordinatorEnd(), SiteEnd()
    request = message(4 * PART_BYTES)
    coordinator.request(Content(request))
    site.receive(coordinator.next())
    coordinator.receive(site.next())
    for _ in range(2):
        site.receive(coordinator.next())
    coordinator.next()  # lost with the connection
    coordinator.reconnected()
    site.reconnected()
    arrived, carried = exchange(coordinator, site)
    assert arrived[0].message == request
    assert bytes_of(carried) == FIRST_CREDIT + (len(request) - FIRST_CREDIT - 2 * PART_BYTES)


def test_a_confirmation_lost_with_the_connection_is_given_again():
    coordinator, site = CoordinatorEnd(), SiteEnd()
    name = coordinator.request(Content(b"request"))
    assert site.receive(coordinator.next())
    site.next()
    coordinator.reconnected()
    site.reconnected()
    assert exchange(coordinator, site)[0] == []
    site.answer(name, b"reply")
    assert coordinator.receive(site.next())
    coordinator.next()
    coordinator.reconnected()
    site.reconnected()
    assert exchange(coordinator, site)[0] == []
    assert site.next() is None


def test_a_restarted_site_gets_the_request_again_and_may_answer_differently():
    coordinator, site = CoordinatorEnd(), SiteEnd()
    name = coordinator.request(Content(message(3 * PART_BYTES)))
    exchange(coordinator, site)
    site.answer(name, message(3 * PART_BYTES, b"first"))
    coordinator.receive(site.next())
    reborn = SiteEnd()
    coordinator.restarted()
    coordinator.reconnected()
    assert [found.exchange for found in exchange(coordinator, reborn)[0]] == [name]
    reborn.answer(name, b"another answer")
    assert [found.message for found in exchange(coordinator, reborn)[0]] == [b"another answer"]


def test_a_late_reply_is_confirmed_and_dropped():
    coordinator, site = CoordinatorEnd(), SiteEnd()
    name = coordinator.request(Content(b"request"))
    exchange(coordinator, site)
    coordinator.withdraw()
    site.answer(name, b"too late")
    assert exchange(coordinator, site)[0] == []
    assert site.next() is None


def test_the_last_request_counts():
    coordinator, site = CoordinatorEnd(), SiteEnd()
    old = coordinator.request(Content(b"old"))
    exchange(coordinator, site)
    new = coordinator.request(Content(b"new"))
    assert [found.message for found in exchange(coordinator, site)[0]] == [b"new"]
    site.answer(old, b"to the old")
    assert exchange(coordinator, site) == ([], [])
    site.answer(new, b"to the new")
    assert [found.message for found in exchange(coordinator, site)[0]] == [b"to the new"]


def test_beyond_its_first_bytes_a_message_waits_for_memory():
    free = []
    coordinator, site = CoordinatorEnd(admit=lambda _: bool(free)), SiteEnd()
    name = coordinator.request(Content(b"request"))
    exchange(coordinator, site)
    site.answer(name, message(WINDOW))
    _, carried = exchange(coordinator, site)
    assert bytes_of(carried) == FIRST_CREDIT
    free.append(True)
    coordinator.readmit()
    assert [found.message for found in exchange(coordinator, site)[0]] == [message(WINDOW)]


def test_memory_is_asked_for_once():
    asked = []
    site = SiteEnd(admit=lambda size: asked.append(size) or True)
    coordinator = CoordinatorEnd()
    coordinator.request(Content(message(WINDOW * 2)))
    exchange(coordinator, site)
    assert asked == [WINDOW * 2]


ID = bytes(16)
HEAD = bytes(FIRST_CREDIT)


@pytest.mark.parametrize(
    ("parts", "failure"),
    [
        ([Part(ID, 10, 1, b"x")], "malformed"),
        ([Part(ID, 10, 0, b"x"), Part(ID, 11, 1, b"x")], "malformed"),
        ([Part(ID, 10, 0, b"x"), Part(ID, 10, 2, b"x")], "malformed"),
        ([Part(ID, FIRST_CREDIT + 2, 0, HEAD + b"x")], "flooded"),
        ([Part(ID, 2**31 - 1, 0, HEAD), Part(ID, 2**31 - 1, FIRST_CREDIT, bytes(WINDOW + 1))], "flooded"),
        ([Part(ID, 1, 0, b"x", bytes(32))], "tampered"),
        ([Part(ID, 101 * PART_BYTES, 0, b"x")], "malformed"),
    ],
)
def test_a_peer_that_breaks_the_rules_is_found_out(parts, failure):
    site = SiteEnd(largest=100 * PART_BYTES if failure == "malformed" else 2**31 - 1)
    for part in parts[:-1]:
        site.receive(part)
        list(frames_of(site))
    with pytest.raises(ProtocolError) as caught:
        site.receive(parts[-1])
    assert caught.value.failure == failure


def test_a_spoilt_message_is_sent_again_from_the_beginning():
    coordinator, site = CoordinatorEnd(), SiteEnd()
    coordinator.request(Content(message(FIRST_CREDIT * 2)))
    first = coordinator.next()
    site.receive(Part(first.exchange, first.size, 0, b"?" + first.data[1:]))
    coordinator.receive(site.next())
    with pytest.raises(ProtocolError, match="digest"):
        site.receive(coordinator.next())
    coordinator.reconnected()
    site.reconnected()
    assert [found.message for found in exchange(coordinator, site)[0]] == [message(FIRST_CREDIT * 2)]


def test_bytes_that_never_left_cannot_be_confirmed():
    outgoing = Outgoing(ID, Content(message(2 * FIRST_CREDIT)))
    outgoing.next()
    with pytest.raises(ProtocolError, match="not sent"):
        outgoing.credit(Credit(ID, FIRST_CREDIT + 1, FIRST_CREDIT + 1))


def test_a_second_greeting_is_out_of_order():
    with pytest.raises(ProtocolError, match="greeted twice"):
        SiteEnd().receive(Hello("site", ID))


SMALL = {"PART_BYTES": 16, "FIRST_CREDIT": 8, "WINDOW": 64}
"""So that short messages take many steps."""


class BrokenLink(RuleBasedStateMachine):
    """Requests, replies, and connections that break with frames under way. Sites may be restarted."""

    @initialize()
    def begin(self):
        self.sizes = patch.multiple(transfer, **SMALL)
        self.sizes.start()
        self.coordinator, self.site = CoordinatorEnd(), SiteEnd()
        self.down, self.up = deque(), deque()
        self.number = 0
        self.open = None
        self.requests, self.replies = {}, {}
        self.received_here, self.given = [], []

    @rule(size=st.integers(1, 200))
    @precondition(lambda self: self.open is None)
    def ask(self, size):
        self.number += 1
        request = message(size, str(self.number).encode())
        self.open = self.coordinator.request(Content(request))
        self.requests[self.open] = request

    @rule()
    @precondition(lambda self: self.open is not None)
    def give_up(self):
        self.coordinator.withdraw()
        self.open = None

    @rule(size=st.integers(1, 200))
    @precondition(lambda self: self.received_here)
    def reply(self, size):
        exchange_id = self.received_here.pop()
        self.replies[exchange_id] = message(size, exchange_id)
        self.site.answer(exchange_id, self.replies[exchange_id])

    @rule(count=st.integers(1, 8))
    def write(self, count):
        for end, queue in ((self.coordinator, self.down), (self.site, self.up)):
            for _ in range(count):
                if frame := end.next():
                    queue.append(frame.serialise())

    @rule(count=st.integers(1, 8))
    def deliver_down(self, count):
        for _ in range(min(count, len(self.down))):
            if arrived := self.site.receive(frames.parse(self.down.popleft())):
                assert arrived.message == self.requests[arrived.exchange]
                assert arrived.exchange not in self.given
                self.given.append(arrived.exchange)
                self.received_here.append(arrived.exchange)

    @rule(count=st.integers(1, 8))
    def deliver_up(self, count):
        for _ in range(min(count, len(self.up))):
            if arrived := self.coordinator.receive(frames.parse(self.up.popleft())):
                assert arrived.exchange == self.open
                assert arrived.message == self.replies[arrived.exchange]
                self.open = None

    @rule()
    def cut(self):
        self.down.clear()
        self.up.clear()
        self.coordinator.reconnected()
        self.site.reconnected()

    @rule()
    def restart_site(self):
        """Its memory of requests is gone, so a request may be given to it again."""
        self.site = SiteEnd()
        self.given, self.received_here = [], []
        self.coordinator.restarted()
        self.cut()

    @invariant()
    def what_is_under_way_is_bounded(self):
        for queue in (self.down, self.up):
            assert bytes_of(map(frames.parse, queue)) <= SMALL["WINDOW"] + SMALL["FIRST_CREDIT"] + 400

    def teardown(self):
        """Once the link holds, what is open comes to its end."""
        if not hasattr(self, "sizes"):
            return
        self.cut()
        arrived = exchange(self.coordinator, self.site)[0]
        waiting = {*self.received_here, *(found.exchange for found in arrived)}
        if self.open in waiting:
            self.site.answer(self.open, b"at last")
            arrived += exchange(self.coordinator, self.site)[0]
        assert self.open is None or self.open in [found.exchange for found in arrived]
        assert exchange(self.coordinator, self.site) == ([], [])
        self.sizes.stop()


TestBrokenLink = BrokenLink.TestCase
TestBrokenLink.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


@patch.multiple(transfer, **SMALL)
@given(cuts=st.lists(st.integers(0, 30), max_size=6), size=st.integers(1, 1000))
def test_each_cut_costs_at_most_the_bytes_under_way(cuts, size):
    coordinator, site = CoordinatorEnd(), SiteEnd()
    request, carried, arrived = message(size), 0, None
    coordinator.request(Content(request))
    for steps in [*cuts, 10**6]:
        for _ in range(steps):
            frame = coordinator.next()
            answer = site.next() if frame is None else None
            if frame is None and answer is None:
                break
            if frame is not None:
                carried += bytes_of([frame])
                arrived = site.receive(frame) or arrived
            else:
                coordinator.receive(answer)
        coordinator.reconnected()
        site.reconnected()
    assert arrived.message == request
    lost = SMALL["FIRST_CREDIT"]  # every reading is delivered here, so only the first bytes go twice
    assert carried <= size + len(cuts) * lost
