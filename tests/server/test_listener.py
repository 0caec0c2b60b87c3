"""The coordinator's door: what a certificate may do there before it is a site's, and for how long."""

import asyncio
import io
import json
import socket
import ssl
import threading
from contextlib import contextmanager
from datetime import UTC, datetime

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sealora.plan.logs import Log
from sealora.protocol import transport
from sealora.protocol.transport import PATH, SERVICE
from sealora.server import authority, listener
from sealora.server.listener import Listener
from sealora.server.switchboard import Switchboard

SERVING = health_pb2.HealthCheckResponse.SERVING
Code = grpc.StatusCode
SECONDS = 30


class Door:
    """A listener in a thread, and dials to it."""

    def __init__(self, partners, port, log):
        self.partners, self.port, self._log = partners, port, log

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

    @property
    def failures(self):
        return [json.loads(line).get("failure") for line in self._log.getvalue().splitlines()]


def outcome(call):
    try:
        return call()
    except grpc.RpcError as error:
        return error.code()


@pytest.fixture
def door(partners, monkeypatch):
    monkeypatch.setattr(listener, "require_tls13", lambda: None)  # other tests may have loaded gRPC

    @contextmanager
    def opened():
        loop, log = asyncio.new_event_loop(), io.StringIO()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()

        def do(work):
            return asyncio.run_coroutine_threadsafe(work, loop).result()

        async def build():
            board = Switchboard(lambda: ("ams", "ber"))
            gate = authority.Gate(partners.federation)
            admit = lambda certificate: gate.admit(certificate, datetime.now(UTC))  # noqa: E731
            return Listener(board, bytes(32), admit, Log("coordinator", log))

        one = do(build())
        credentials = partners.federation.credentials(None, datetime.now(UTC))
        try:
            yield Door(partners, do(one.open("127.0.0.1:0", credentials, 2)), log)
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


def test_a_certificate_has_few_streams_that_say_nothing(partners, door, monkeypatch):
    monkeypatch.setattr(listener, "SILENT_STREAMS", 2)
    ams, end = partners.member("ams"), threading.Event()

    def nothing():
        end.wait()
        yield from ()

    with door() as there:
        channels = [there.channel(ams) for _ in range(3)]
        calls = [channel.stream_stream(PATH)(nothing()) for channel in channels]
        # Which of them comes last is not known; two of three wait until they are told to end.
        ended, told = set(), threading.Event()
        for call in calls:
            call.add_callback(lambda call=call: (ended.add(call.code()), told.set()))
        try:
            assert told.wait(SECONDS)
            assert ended == {Code.RESOURCE_EXHAUSTED}
            assert there.failures == ["flooded"]
        finally:
            end.set()
            for channel in channels:
                channel.close()


def test_a_connection_on_which_nothing_is_asked_is_ended(partners, door, monkeypatch, tmp_path):
    monkeypatch.setattr(transport, "IDLE_SECONDS", 0.2)
    found = partners.member("ams").credentials(None, datetime.now(UTC))
    (tmp_path / "pem").write_bytes(found.certificate + found.key)
    context = ssl.create_default_context(cadata=found.authority.decode())
    context.load_cert_chain(tmp_path / "pem")
    context.set_alpn_protocols(["h2"])
    with (
        door() as there,
        socket.create_connection(("127.0.0.1", there.port), timeout=SECONDS) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as stranger,
    ):
        while stranger.recv(4096):  # its settings, and what it says before it closes
            pass
        assert there.failures == [], "it was welcome, and only said nothing"
