"""The link of a site: carries frames between the agent's Unix socket and the coordinator, and no more.

It holds the TLS key and sees neither data nor model: it imports no torch, and reads no frame. One
connection to the agent is one stream to the coordinator; where either ends, so does the other, and
both are made again. Whatever was under way goes on from the byte it had reached, which the agent and
the coordinator settle between them.
"""

from sealora.protocol.transport import PATH, require_tls13, site_options

# isort: split
import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from sealora.client.backoff import Backoff
from sealora.client.link_figures import LinkFigures
from sealora.client.pipe import Pipe
from sealora.plan.logs import Log
from sealora.protocol.carrier import first_to_end
from sealora.protocol.certificates import Credentials
from sealora.protocol.errors import ProtocolError, SealoraError

CAUSES = {
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not one of this federation for this address",
    "Connection refused": "nobody listens there",
    "DNS resolution": "its name is not known",
    "Cancelling all calls": "it has ended",
    "CANCELLED": "it has ended",
    "unavailable": "it has ended",
    "Internal error from Core": "it ended the connection while a frame was on its way there",
    "Socket closed": "it, or something on the way, closed the connection",
    "imeout": "no answer",
}
"""What gRPC says, and what it means; its words are for its developers."""
BROKEN = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.OK, grpc.StatusCode.INTERNAL
"""Codes with which gRPC ends a stream of its own accord; all others are the coordinator's answer."""
STEADY_SECONDS = 5.0
"""That a connection lasts before the next is made soon again: one that always breaks is dialled rarely."""


@dataclass(frozen=True)
class LinkSettings:
    """Where the coordinator and the agent are, and what proves who is dialling."""

    address: str
    """HOST:PORT of the coordinator."""
    socket: Path
    """The agent's."""
    credentials: Callable[[], Credentials]
    """Read anew for each connection, so that a renewed certificate is used. Raises SealoraError."""


class Lost(Exception):
    """A connection could not be made, or has ended; the text says why."""


@dataclass
class Link:
    """Keeps a stream to the coordinator open as long as there is an agent. Runs until cancelled."""

    settings: LinkSettings
    log: Log
    backoff: Backoff = field(default_factory=Backoff)
    figures: LinkFigures = field(default_factory=LinkFigures)

    async def run(self) -> None:
        """Connect, relay, and connect again."""
        require_tls13()
        last = ""
        while True:
            try:
                await self._once()
            except Lost as lost:
                self.figures.disconnected(str(lost))
                # The same reason again every half minute for a night would hide the others.
                if str(lost) != last:
                    self.log("disconnected", reason=str(lost))
                last = str(lost)
            await asyncio.sleep(self.backoff.next())

    async def _once(self) -> None:
        """One connection, from beginning to end. Raises Lost."""
        pipe = await self._reach_agent()
        self.figures.reached_agent()
        try:
            credentials = self._credentials()
            async with grpc.aio.secure_channel(
                self.settings.address, credentials, options=site_options()
            ) as channel:
                call = channel.stream_stream(PATH)()
                await self._relay(pipe, call)
        except grpc.aio.AioRpcError as error:
            raise Lost(_reason(error.code(), error.details())) from None
        except (OSError, ProtocolError) as error:
            raise Lost(f"the agent: {error}") from None
        finally:
            pipe.close()

    async def _reach_agent(self) -> Pipe:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connection, str(self.settings.socket))
        except OSError as error:
            connection.close()
            raise Lost(f"no agent at {self.settings.socket} ({error.strerror})") from None
        return Pipe(connection)

    def _credentials(self) -> grpc.ChannelCredentials:
        try:
            found = self.settings.credentials()
        except SealoraError as error:
            raise Lost(str(error)) from None
        return grpc.ssl_channel_credentials(found.authority, found.key, found.certificate)

    async def _relay(self, pipe: Pipe, call: "grpc.aio.StreamStreamCall[bytes, bytes]") -> None:
        """Carry frames both ways until either side ends."""
        await first_to_end(self._upwards(pipe, call), self._downwards(pipe, call))

    async def _upwards(self, pipe: Pipe, call: "grpc.aio.StreamStreamCall[bytes, bytes]") -> None:
        while (frame := await pipe.read()) is not None:
            try:
                await call.write(bytes(frame))
                self.figures.sent(len(frame))
            except asyncio.InvalidStateError:  # what gRPC raises once the stream has ended
                raise Lost(_reason(await call.code(), await call.details())) from None
        raise Lost("the agent has ended")

    async def _downwards(self, pipe: Pipe, call: "grpc.aio.StreamStreamCall[bytes, bytes]") -> None:
        frame = await call.read()
        if frame is not grpc.aio.EOF:
            # The coordinator speaks only to a site that it has recognised.
            self.figures.connected()
            self.log("connected", coordinator=self.settings.address)
        steady = asyncio.get_running_loop().call_later(STEADY_SECONDS, self.backoff.succeeded)
        try:
            while frame is not grpc.aio.EOF:
                self.figures.received(len(frame))
                await pipe.write(frame)
                frame = await call.read()
        finally:
            steady.cancel()
        raise Lost(_reason(await call.code(), await call.details()))


def _reason(code: grpc.StatusCode, details: str | None) -> str:
    """Why a stream ended, for people: in the coordinator's own words where it answered."""
    if code not in BROKEN:
        return details or str(code)
    cause = next((cause for sign, cause in CAUSES.items() if sign in (details or "")), details)
    return f"no connection to the coordinator: {cause or 'it closed the connection'}"
