"""The coordinator's door: what a certificate may do there before it is a site's, and for how long."""

import asyncio
import io
import json
import socket
import ssl
import struct
import threading
from contextlib import contextmanager
from datetime import UTC, datetime

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sealora.plan.logs import Log
from sealora.protocol import frames, transport
from sealora.protocol.errors import UsageError
from sealora.protocol.frames import Hello
from sealora.protocol.transport import PATH, SERVICE
from sealora.server import authority, listener
from sealora.server.listener import Listener
from sealora.server.switchboard import Switchboard

SERVING = health_pb2.HealthCheckResponse.SERVING
Code = grpc.StatusCode
SECONDS = 30
CHECK = "/grpc.health.v1.Health/Check"
HELLO = Hello("ams", frames.new_id()).serialise()


class Door:
    """A listener in a thread, and dials to it."""

    def __init__(self, partners, port, log):
        self.partners, self.port, self._log = partners, port, log
        self.refused = threading.Event()
        """Set with each line of the log."""
        self.forgotten = threading.Event()
        """Set once no stream counts any more."""

    def channel(self, site):
        found = site.credentials(None, datetime.now(UTC))
        tls = grpc.ssl_channel_credentials(found.authority, found.key, found.certificate)
        # A channel of its own for each, or gRPC would share the connection.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.ssl_target_name_override", "localhost")]
        return grpc.secure_channel(f"127.0.0.1:{self.port}", tls, options)

    def check(self, channel, service=""):
        """The answer of the health service, or the code with which it was refused."""
        request = health_pb2.HealthCheckRequest(service=service)
        return outcome(lambda: health_pb2_grpc.HealthStub(channel).Check(request, timeout=SECONDS).status)

    def watch(self, channel):
        request = health_pb2.HealthCheckRequest()
        return outcome(lambda: next(health_pb2_grpc.HealthStub(channel).Watch(request, timeout=SECONDS)))

    @contextmanager
    def silent(self, site, path=PATH):
        """Begins a stream on a connection of its own, and says nothing on it."""
        end = threading.Event()

        def nothing():
            end.wait()
            yield from ()

        with self.channel(site) as channel:
            try:
                yield channel.stream_stream(path)(nothing(), timeout=SECONDS)
            finally:
                end.set()

    @contextmanager
    def connection(self, site, folder):
        """HTTP/2 by hand."""
        found = site.credentials(None, datetime.now(UTC))
        (folder / "pem").write_bytes(found.certificate + found.key)
        context = ssl.create_default_context(cadata=found.authority.decode())
        context.load_cert_chain(folder / "pem")
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as there,
        ):
            yield there

    @property
    def lines(self):
        return [json.loads(line) for line in self._log.getvalue().splitlines()]

    @property
    def failures(self):
        return [line.get("failure") for line in self.lines]


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, SETTINGS, PING, ACK, END_HEADERS = 1, 4, 6, 1, 4


def frame(kind, flags, stream, payload):
    """RFC 9113, section 4.1."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def outlive(there):
    """Asks nothing and answers pings until the coordinator ends the connection."""
    there.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
    while received := there.recv(4096):
        _, ping, rest = received.partition(frame(PING, 0, 0, bytes(8))[:-8])
        if ping:
            there.sendall(frame(PING, ACK, 0, rest[:8]))


def hold(there):
    """Greets as ams, and has room for no byte of an answer."""

    def field(name, value):
        return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()

    no_window = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0))
    fields = {":method": "POST", ":scheme": "https", ":path": PATH, ":authority": "localhost"}
    fields |= {"content-type": "application/grpc", "te": "trailers"}
    headers = frame(HEADERS, END_HEADERS, 1, b"".join(field(*pair) for pair in fields.items()))
    greeting = frame(0, 0, 1, struct.pack(">BI", 0, len(HELLO)) + HELLO)
    there.sendall(PREFACE + no_window + headers + greeting)


def outcome(call):
    try:
        return call()
    except grpc.RpcError as error:
        return error.code()


@pytest.fixture
def door(partners, monkeypatch):
    monkeypatch.setattr(listener, "require_tls13", lambda: None)  # other tests may have loaded gRPC

    @contextmanager
    def opened(members=lambda: ("ams", "ber")):
        loop, log = asyncio.new_event_loop(), io.StringIO()
        there = Door(partners, 0, log)
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()

        def do(work):
            return asyncio.run_coroutine_threadsafe(work, loop).result()

        def tell(*fields, **more):
            Log("coordinator", log)(*fields, **more)
            there.refused.set()

        class Watched(Listener):
            def _forget(self, certificate):
                super()._forget(certificate)
                if not self._streams:
                    there.forgotten.set()

        async def build():
            board = Switchboard(members)
            gate = authority.Gate(partners.federation)
            admit = lambda certificate: gate.admit(certificate, datetime.now(UTC))  # noqa: E731
            return Watched(board, bytes(32), admit, tell)

        one = do(build())
        credentials = partners.federation.credentials(None, datetime.now(UTC))
        try:
            there.port = do(one.open("127.0.0.1:0", credentials, 2))
            yield there
        finally:
            do(one.close())
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    return opened


def test_the_health_service_answers_a_member_and_nobody_else(partners, door):
    ams, ber = partners.member("ams"), partners.member("ber")
    with door() as there:
        with there.channel(ams) as channel:
            assert [there.check(channel, name) for name in ("", SERVICE)] == [SERVING, SERVING]
            assert there.check(channel, "another") == Code.NOT_FOUND
        authority.revoke(partners.federation, "ber")
        with there.channel(ber) as channel:
            assert there.check(channel) == Code.PERMISSION_DENIED
        with grpc.insecure_channel(f"127.0.0.1:{there.port}") as channel:
            assert there.check(channel) == Code.UNAVAILABLE


def test_nobody_holds_a_connection_by_watching(partners, door):
    with door() as there, there.channel(partners.member("ams")) as channel:
        assert there.watch(channel) == Code.UNIMPLEMENTED


def test_a_certificate_has_few_streams_at_a_time(partners, door, monkeypatch):
    monkeypatch.setattr(listener, "STREAMS", 2)
    monkeypatch.setattr(listener, "LINGER_SECONDS", 0.1)
    ams = partners.member("ams")
    with door() as there:
        with (
            there.silent(ams) as one,
            there.silent(ams) as two,
            there.silent(ams, CHECK) as three,
            there.silent(ams, CHECK) as four,
        ):
            # Which of them come last is not known; two of four wait until they are told to end.
            ended, told = [], threading.Semaphore(0)
            for call in (one, two, three, four):
                call.add_callback(lambda call=call: (ended.append(call.code()), told.release()))
            assert told.acquire(timeout=SECONDS)
            assert told.acquire(timeout=SECONDS)
            assert ended == [Code.RESOURCE_EXHAUSTED] * 2
            assert there.failures == ["flooded"], "one line for both"
        assert there.forgotten.wait(SECONDS)
        with there.channel(ams) as channel:
            assert there.check(channel) == SERVING


@pytest.mark.slow
def test_a_stream_counts_a_while_after_its_end(partners, door, monkeypatch):
    monkeypatch.setattr(listener, "STREAMS", 2)
    with door() as there, there.channel(partners.member("ams")) as channel:
        assert [there.check(channel) for _ in range(3)] == [SERVING, SERVING, Code.RESOURCE_EXHAUSTED]


def test_a_question_that_is_not_asked_is_not_waited_for(partners, door, monkeypatch):
    monkeypatch.setattr(listener, "HANDSHAKE_SECONDS", 0.1)
    ber = partners.member("ber")
    authority.revoke(partners.federation, "ber")
    with door() as there, there.silent(ber, CHECK) as call:
        assert outcome(lambda: next(call)) == Code.INVALID_ARGUMENT


def test_a_stream_that_takes_no_answer_counts_until_its_connection_ends(
    partners, door, monkeypatch, tmp_path
):
    monkeypatch.setattr(listener, "STREAMS", 1)
    monkeypatch.setattr(listener, "LINGER_SECONDS", 0)
    monkeypatch.setattr(listener, "HANDSHAKE_SECONDS", 0.1)
    ams = partners.member("ams")
    with door() as there:
        with there.connection(ams, tmp_path) as stuck:
            hold(stuck)
            assert there.refused.wait(SECONDS)
            assert there.failures == ["malformed"]
            with there.channel(ams) as channel:
                assert there.check(channel) == Code.RESOURCE_EXHAUSTED
        assert there.forgotten.wait(SECONDS)
        with there.channel(ams) as channel:
            assert there.check(channel) == SERVING


def test_a_site_is_looked_at_again_while_it_is_connected(partners, door, monkeypatch):
    monkeypatch.setattr(listener, "REVIEW_SECONDS", 0.1)
    end = threading.Event()

    def greeting():
        yield HELLO
        end.wait()

    with door() as there, there.channel(partners.member("ams")) as channel:
        try:
            call = channel.stream_stream(PATH)(greeting(), timeout=SECONDS)
            next(call)
            authority.revoke(partners.federation, "ams")
            assert outcome(lambda: next(call)) == Code.PERMISSION_DENIED
            assert call.details() == "the key of ams was revoked"
        finally:
            end.set()


def test_a_site_is_not_told_of_the_coordinators_files(partners, door):
    def members():
        raise UsageError("/srv/federation/roster.jsonl is damaged.")

    with door(members) as there, there.channel(partners.member("ams")) as channel:
        call = channel.stream_stream(PATH)(iter([HELLO]), timeout=SECONDS)
        assert outcome(lambda: next(call)) == Code.UNAVAILABLE
        assert call.details() == "the coordinator's records are not in order"
        assert [line["reason"] for line in there.lines] == ["/srv/federation/roster.jsonl is damaged."]


def test_a_connection_on_which_nothing_is_asked_is_ended(partners, door, monkeypatch, tmp_path):
    monkeypatch.setattr(transport, "IDLE_SECONDS", 0.2)
    with door() as there, there.connection(partners.member("ams"), tmp_path) as stranger:
        while stranger.recv(4096):  # its settings, and what it says before it closes
            pass
        assert there.failures == [], "it was welcome, and only said nothing"


def test_a_connection_grows_old_and_the_stream_of_a_link_does_not(partners, door, monkeypatch, tmp_path):
    monkeypatch.setattr(transport, "IDLE_SECONDS", 2 * SECONDS)
    monkeypatch.setattr(transport, "AGE_SECONDS", 0.2)
    monkeypatch.setattr(listener, "REVIEW_SECONDS", 0.1)
    end, ams = threading.Event(), partners.member("ams")

    def greeting():
        yield HELLO
        end.wait()

    with door() as there, there.channel(ams) as channel:
        try:
            call = channel.stream_stream(PATH)(greeting(), timeout=SECONDS)
            next(call)
            for _ in range(2):  # ages are told apart by a tenth
                with there.connection(ams, tmp_path) as other:
                    outlive(other)
            authority.revoke(partners.federation, "ams")
            assert outcome(lambda: next(call)) == Code.PERMISSION_DENIED, "it heard why it ended"
        finally:
            end.set()
