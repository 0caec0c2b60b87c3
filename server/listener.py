"""The door of the coordinator: a gRPC server that lets in the sites of the run, and nobody else.

Mutual TLS 1.3 comes first: without a certificate of the federation's authority there is no stream.
Then the site must say hello in time, under the name of its certificate, whose identity must be enrolled
and on the roster. What an unknown peer can use up before that is bounded by the options of the server, which
also end connections on which nothing is asked; what a certificate can, by the number of its silent streams.
"""

from sealora.protocol.transport import (
    HANDSHAKE_SECONDS,
    METHOD,
    SERVICE,
    coordinator_options,
    require_tls13,
)

# isort: split
import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc

from sealora.plan.logs import Log
from sealora.protocol import frames
from sealora.protocol.certificates import Credentials
from sealora.protocol.errors import ProtocolError, UsageError
from sealora.protocol.frames import Hello, Welcome, choose_version
from sealora.server.health import HealthService
from sealora.server.switchboard import Switchboard

SPARE_CONNECTIONS = 32
"""Beyond two for each site: for monitors, and for strangers until the handshake shows them the door."""
SILENT_STREAMS = 8
"""Streams of one certificate that may be waiting for a hello at a time; a link needs one."""
STATUS = {
    "version": grpc.StatusCode.FAILED_PRECONDITION,
    "twice": grpc.StatusCode.ALREADY_EXISTS,
    "malformed": grpc.StatusCode.INVALID_ARGUMENT,
    "flooded": grpc.StatusCode.RESOURCE_EXHAUSTED,
}
"""By failure class; all others are PERMISSION_DENIED."""


class Listener:
    """Serves until closed. `admit` names the site of a certificate (PEM), or raises ProtocolError."""

    def __init__(
        self,
        board: Switchboard,
        plan_hash: bytes,
        admit: Callable[[bytes], str],
        log: Log,
    ) -> None:
        self._board = board
        self._plan_hash = plan_hash
        self._admit = admit
        self._log = log
        self._server: grpc.aio.Server | None = None
        self._silent: Counter[bytes] = Counter()

    async def open(self, address: str, credentials: Credentials, sites: int) -> int:
        """Listen; returns the port. Raises UsageError if the address cannot be had."""
        require_tls13()
        self._server = grpc.aio.server(options=coordinator_options(2 * sites + SPARE_CONNECTIONS))
        handler = grpc.stream_stream_rpc_method_handler(self._connect)
        service = grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler})
        self._server.add_generic_rpc_handlers((service,))
        health = HealthService(("", SERVICE), self._identify)
        health_pb2_grpc.add_HealthServicer_to_server(health, self._server)
        try:
            port = int(self._server.add_secure_port(address, _server_side(credentials)))
        except RuntimeError:
            raise UsageError(
                f"cannot listen on {address}.",
                "Another program may use the port, or the key does not fit the certificate.",
            ) from None
        await self._server.start()
        return port

    async def close(self) -> None:
        """End all streams."""
        if self._server is not None:
            await self._server.stop(grace=None)

    async def _connect(self, _: object, context: Any) -> None:
        """One stream of a site."""
        name = ""
        try:
            with self._waiting(_certificate(context)):
                # A site that still sends when it is refused may not see the reason, so it is heard first.
                first = await _first_frame(context)
            name = self._identify(context)
            hello = await self._greet(name, first, context)
            await self._board.peer(name).serve(GrpcStream(context), hello.instance)
        except ProtocolError as error:
            self._log("refused", site=name, failure=error.failure, reason=error.message, peer=context.peer())
            await context.abort(STATUS.get(error.failure, grpc.StatusCode.PERMISSION_DENIED), error.message)

    def _identify(self, context: Any) -> str:
        """The name of the site whose certificate TLS has verified. Raises ProtocolError."""
        return self._admit(_certificate(context))

    @contextmanager
    def _waiting(self, certificate: bytes) -> Iterator[None]:
        """One more stream on which nothing was said yet. Raises ProtocolError("flooded") beyond the most."""
        if self._silent[certificate] >= SILENT_STREAMS:
            raise ProtocolError("flooded", "too many connections of this site have not said hello")
        self._silent[certificate] += 1
        try:
            yield
        finally:
            self._silent[certificate] -= 1
            self._silent += Counter()  # forgets those at zero

    async def _greet(self, name: str, first: bytes, context: Any) -> Hello:
        """Answer a greeting. Raises ProtocolError."""
        hello = frames.parse(first)
        if not isinstance(hello, Hello):
            raise ProtocolError("out_of_order", "the first frame is not a hello")
        if hello.site != name:
            raise ProtocolError("stranger", f"the certificate is not that of {hello.site}")
        self._board.peer(name).require_free(hello.instance)
        await context.write(Welcome(choose_version(hello.versions), self._plan_hash).serialise())
        return hello


def _certificate(context: Any) -> bytes:
    """The peer's certificate as PEM. Raises ProtocolError if there is not exactly one."""
    certificates = context.auth_context().get("x509_pem_cert", ())
    if len(certificates) != 1:
        raise ProtocolError("stranger", "the connection has no certificate")
    return bytes(certificates[0])


async def _first_frame(context: Any) -> bytes:
    """What the site says first; empty if it says nothing. Raises ProtocolError if it takes too long."""
    try:
        raw = await asyncio.wait_for(context.read(), HANDSHAKE_SECONDS)
    except TimeoutError:
        raise ProtocolError("malformed", "the site did not say hello in time") from None
    return raw if isinstance(raw, bytes) else b""


def _server_side(credentials: Credentials) -> grpc.ServerCredentials:
    """Mutual TLS: a client without a certificate is refused in the handshake."""
    pair = credentials.key, credentials.certificate
    return grpc.ssl_server_credentials([pair], credentials.authority, require_client_auth=True)


class GrpcStream:
    """Frames over a gRPC stream, as the server sees it."""

    def __init__(self, context: Any) -> None:
        self._context = context

    async def read(self) -> bytes | None:
        """See Stream."""
        frame = await self._context.read()
        return None if frame is grpc.aio.EOF else frame

    async def write(self, frame: bytes) -> None:
        """See Stream."""
        await self._context.write(frame)
