"""The door of the coordinator: a gRPC server that lets in the sites of the run, and nobody else.

Mutual TLS 1.3 comes first: without a certificate of the federation's authority there is no stream.
Then the site must say hello in time, under the name of its certificate, whose identity must be enrolled
and on the roster. What an unknown peer can use up before that is bounded by the options of the server, which
also end connections on which nothing is asked; what a certificate can, by the number of its streams, a short
while after they end included. Who was let in is looked at again every now and then.
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
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from sealora.plan.logs import Log
from sealora.protocol import frames
from sealora.protocol.carrier import first_to_end
from sealora.protocol.certificates import Credentials
from sealora.protocol.errors import ProtocolError, SealoraError, UsageError
from sealora.protocol.frames import Hello, Welcome, choose_version
from sealora.server import health
from sealora.server.switchboard import Switchboard

SPARE_CONNECTIONS = 32
"""Beyond two for each site: for monitors, and for strangers until the handshake shows them the door."""
STREAMS = 8
"""Of one certificate at a time; a link needs one, and a monitor another."""
LINGER_SECONDS = 2.0
"""That a stream counts after its end, so that streams one after the other are few, too."""
REVIEW_SECONDS = 60.0
"""Between two looks at the certificate of an open stream."""
STATUS = {
    "version": grpc.StatusCode.FAILED_PRECONDITION,
    "twice": grpc.StatusCode.ALREADY_EXISTS,
    "malformed": grpc.StatusCode.INVALID_ARGUMENT,
    "flooded": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "internal": grpc.StatusCode.UNAVAILABLE,
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
        self._streams: Counter[bytes] = Counter()
        self._flooding: set[bytes] = set()
        """Certificates with too many streams, until they have none: what is logged once each."""

    async def open(self, address: str, credentials: Credentials, sites: int) -> int:
        """Listen; returns the port. Raises UsageError if the address cannot be had."""
        require_tls13()
        self._server = grpc.aio.server(options=coordinator_options(2 * sites + SPARE_CONNECTIONS))
        self._server.add_generic_rpc_handlers(
            (_service(SERVICE, METHOD, self._connect), _service(health.SERVICE, health.METHOD, self._check))
        )
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
            self._count(context)
            async with _in_time():
                # A site that still sends when it is refused may not see the reason, so it is heard first.
                first = await _first_frame(context)
                name = self._identify(context)
                hello = await self._greet(name, first, context)
            serving = self._board.peer(name).serve(GrpcStream(context), hello.instance)
            await first_to_end(serving, self._review(name, context))
        except (SealoraError, OSError) as error:
            await self._refuse(name, error, context)

    async def _check(self, _: object, context: Any) -> None:
        """One question of a monitor, which is heard no longer than a greeting."""
        try:
            self._count(context)
            async with _in_time():
                question = await _first_frame(context)
                self._identify(context)
                answer = health.answer(question, ("", SERVICE))
                if answer is None:
                    await context.abort(grpc.StatusCode.NOT_FOUND)
                else:
                    await _answer(context, answer)
        except (SealoraError, OSError) as error:
            await self._refuse("", error, context)

    def _identify(self, context: Any) -> str:
        """The name of the site whose certificate TLS has verified. Raises ProtocolError."""
        return self._admit(_certificate(context))

    async def _review(self, name: str, context: Any) -> None:
        """Never ends while the site may come in. Raises ProtocolError once it may not."""
        while True:
            await asyncio.sleep(REVIEW_SECONDS)
            self._identify(context)
            self._board.peer(name)

    def _count(self, context: Any) -> None:
        """One more stream of a certificate, until a while after gRPC is done with it.

        It is not done with one whose peer has room for no answer, and such a one may be beyond help.
        Raises ProtocolError("flooded") beyond the most.
        """
        certificate = _certificate(context)
        if self._streams[certificate] >= STREAMS:
            raise ProtocolError("flooded", "too many connections of this site at a time")
        self._streams[certificate] += 1
        later = asyncio.get_running_loop().call_later
        context.add_done_callback(lambda _: later(LINGER_SECONDS, self._forget, certificate))

    def _forget(self, certificate: bytes) -> None:
        self._streams[certificate] -= 1
        if not self._streams[certificate]:
            del self._streams[certificate]
            self._flooding.discard(certificate)

    async def _refuse(self, name: str, error: Exception, context: Any) -> None:
        """Say why, here and there; but a peer is told nothing of this machine's files."""
        if not isinstance(error, ProtocolError):
            self._log("refused", site=name, failure="internal", reason=str(error), peer=context.peer())
            error = ProtocolError("internal", "the coordinator's records are not in order")
        elif error.failure != "flooded":
            self._log("refused", site=name, failure=error.failure, reason=error.message, peer=context.peer())
        else:
            await self._slow_down(error, context)
        await context.abort(STATUS.get(error.failure, grpc.StatusCode.PERMISSION_DENIED), error.message)

    async def _slow_down(self, error: ProtocolError, context: Any) -> None:
        """Hold a stream too many, of which a connection can have a few; only the first is logged."""
        certificate = _certificate(context)
        if certificate not in self._flooding:
            self._flooding.add(certificate)
            self._log("refused", site="", failure=error.failure, reason=error.message, peer=context.peer())
        await asyncio.sleep(LINGER_SECONDS)

    async def _greet(self, name: str, first: bytes, context: Any) -> Hello:
        """Answer a greeting. Raises ProtocolError."""
        hello = frames.parse(first)
        if not isinstance(hello, Hello):
            raise ProtocolError("out_of_order", "the first frame is not a hello")
        if hello.site != name:
            raise ProtocolError("stranger", f"the certificate is not that of {hello.site}")
        self._board.peer(name).require_free(hello.instance)
        await _answer(context, Welcome(choose_version(hello.versions), self._plan_hash).serialise())
        return hello


def _certificate(context: Any) -> bytes:
    """The peer's certificate as PEM. Raises ProtocolError if there is not exactly one."""
    certificates = context.auth_context().get("x509_pem_cert", ())
    if len(certificates) != 1:
        raise ProtocolError("stranger", "the connection has no certificate")
    return bytes(certificates[0])


def _service(
    name: str, method: str, behaviour: Callable[[object, Any], Awaitable[None]]
) -> grpc.GenericRpcHandler:
    """A service whose one method is called at once: gRPC would wait for a single request without limit."""
    handler = grpc.stream_stream_rpc_method_handler(behaviour)
    return grpc.method_handlers_generic_handler(name, {method: handler})


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    """Raises ProtocolError if what is done within takes too long."""
    try:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            yield
    except TimeoutError:
        raise ProtocolError("malformed", "the site did not say hello in time") from None


async def _first_frame(context: Any) -> bytes:
    """What the peer says first; empty if it says nothing."""
    raw = await context.read()
    return raw if isinstance(raw, bytes) else b""


async def _answer(context: Any, raw: bytes) -> None:
    """Write what is said first. Only with its headers out before can gRPC be told to end a stuck stream."""
    await context.send_initial_metadata(())
    await context.write(raw)


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
