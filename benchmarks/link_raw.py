"""Raw gRPC: one bidirectional stream for each client, messages in parts of a mebibyte, mutual TLS.

No frames, no credit, no hashes, no second process: the least that a Python program needs to move the bytes.
A peer whose name ends in `RELAYED` has hashes and a second process, see `link_floor.py`.
"""

from sealora.protocol.transport import coordinator_options, site_options

# isort: split
import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

import grpc

from sealora.protocol.certificates import Credentials
from sealora.protocol.frames import PART_BYTES

PATH = "/raw/Connect"
RELAYED = " relayed"
"""Ends the name of a client of two processes."""
HEAD_BYTES = 8
"""Before a message: its size and that of the reply that it asks for, 8 bytes each."""


class Peer:
    """One end of a stream that sends and receives whole messages."""

    def __init__(self, stream: Any, hashed: bool = False) -> None:
        self._stream = stream
        self._hashed = hashed

    async def send(self, message: bytes, reply: int = 0) -> None:
        sizes = len(message).to_bytes(HEAD_BYTES, "big") + reply.to_bytes(HEAD_BYTES, "big")
        view, digest = memoryview(message), hashlib.sha256()
        for offset in range(0, len(message), PART_BYTES):
            part = view[offset : offset + PART_BYTES]
            if self._hashed:
                digest.update(part)
            await self._stream.write(bytes(part) if offset else sizes + bytes(part))

    async def receive(self) -> tuple[list[bytes], int]:
        """The parts of a message, and the size of the reply that it asks for."""
        first = await self._stream.read()
        if first is grpc.aio.EOF:
            raise EOFError
        size, reply = (int.from_bytes(first[at : at + HEAD_BYTES], "big") for at in (0, HEAD_BYTES))
        parts, digest = [first[2 * HEAD_BYTES :]], hashlib.sha256()
        received = len(parts[0])
        while True:
            if self._hashed:
                digest.update(parts[-1])
            if received >= size:
                return parts, reply
            parts.append(await self._stream.read())
            received += len(parts[-1])


class Server:
    """Asks its clients, who answer with as many bytes as they are asked for."""

    def __init__(self) -> None:
        self.peers: dict[str, Peer] = {}
        self._came = asyncio.Condition()
        self._ended = asyncio.Event()

    async def open(self, credentials: Credentials, clients: int) -> int:
        self._server = grpc.aio.server(options=coordinator_options(2 * clients + 8))
        handler = grpc.method_handlers_generic_handler(
            "raw", {"Connect": grpc.stream_stream_rpc_method_handler(self._connect)}
        )
        self._server.add_generic_rpc_handlers((handler,))
        pair = credentials.key, credentials.certificate
        tls = grpc.ssl_server_credentials([pair], credentials.authority, require_client_auth=True)
        port = self._server.add_secure_port("127.0.0.1:0", tls)
        await self._server.start()
        return int(port)

    async def wait_for(self, clients: int) -> None:
        async with self._came:
            await self._came.wait_for(lambda: len(self.peers) == clients)

    async def close(self) -> None:
        self._ended.set()
        await self._server.stop(grace=5)

    async def ask(self, name: str, message: bytes, reply: int) -> list[bytes]:
        await self.peers[name].send(message, reply)
        return (await self.peers[name].receive())[0]

    async def round(self, sizes: Mapping[str, list[tuple[int, int]]]) -> None:
        """Phases of (request, reply) bytes: all clients answer one before the next."""
        for phase in zip(*sizes.values(), strict=True):
            works = [self.ask(name, bytes(down), up) for name, (down, up) in zip(sizes, phase, strict=True)]
            await asyncio.gather(*works)

    async def _connect(self, _: object, context: Any) -> None:
        name = (await context.read()).decode()
        async with self._came:
            self.peers[name] = Peer(context, name.endswith(RELAYED))
            self._came.notify_all()
        await self._ended.wait()


async def answer(address: str, credentials: Credentials, name: str) -> None:
    """A client: runs until the server ends."""
    tls = grpc.ssl_channel_credentials(credentials.authority, credentials.key, credentials.certificate)
    async with grpc.aio.secure_channel(address, tls, options=site_options()) as channel:
        call: Any = channel.stream_stream(PATH)()
        await call.write(name.encode())
        peer = Peer(call)
        try:
            while True:
                _, reply = await peer.receive()
                await peer.send(b"\x01" * reply)
        except (EOFError, grpc.aio.AioRpcError):
            return
