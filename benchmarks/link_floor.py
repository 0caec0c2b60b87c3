"""Raw gRPC and what a link cannot do without: a client of two processes, and messages with a hash.

Nothing else is there, neither frames nor credit: what moves messages of the link's form in Python can hardly
be faster. `relay` is the process on the network, `sink` the one behind it.
"""

from link_raw import HEAD_BYTES, PATH, RELAYED

# isort: split
import asyncio
import hashlib
import socket
from pathlib import Path
from typing import Any

import grpc

from sealora.protocol.certificates import Credentials
from sealora.protocol.frames import PART_BYTES
from sealora.protocol.transport import site_options

PREFIX_BYTES = 4


async def relay(address: str, credentials: Credentials, name: str, path: Path) -> None:
    """A client that carries every part to and from a Unix socket: runs until the server ends."""
    tls = grpc.ssl_channel_credentials(credentials.authority, credentials.key, credentials.certificate)
    async with grpc.aio.secure_channel(address, tls, options=site_options()) as channel:
        call: Any = channel.stream_stream(PATH)()
        await call.write((name + RELAYED).encode())
        pipe, loop = socket.socket(socket.AF_UNIX), asyncio.get_running_loop()
        pipe.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PART_BYTES)
        pipe.connect(str(path))
        pipe.setblocking(False)

        async def up() -> None:
            buffer = memoryview(bytearray(2 * PART_BYTES))
            while True:
                head = await filled(loop, pipe, buffer[:PREFIX_BYTES])
                part = await filled(loop, pipe, buffer[: int.from_bytes(head, "big")])
                await call.write(bytes(part))

        upwards = asyncio.ensure_future(up())
        try:
            while (part := await call.read()) is not grpc.aio.EOF:
                await loop.sock_sendall(pipe, len(part).to_bytes(PREFIX_BYTES, "big"))
                await loop.sock_sendall(pipe, part)
        except grpc.aio.AioRpcError:
            pass
        finally:
            upwards.cancel()


async def filled(loop: asyncio.AbstractEventLoop, pipe: socket.socket, view: memoryview) -> memoryview:
    """The view, once so many bytes have come."""
    count = 0
    while count < len(view):
        got = await loop.sock_recv_into(pipe, view[count:])
        if not got:
            raise EOFError
        count += got
    return view


def sink(path: Path) -> None:
    """The second process: takes messages in blocking calls, hashes them, and answers; ends with its relay."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        pipe, _ = listener.accept()
    pipe.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PART_BYTES)
    buffer = memoryview(bytearray(2 * PART_BYTES))

    def part() -> memoryview:
        size = pipe.recv_into(buffer[:PREFIX_BYTES], PREFIX_BYTES, socket.MSG_WAITALL)
        if not size:
            raise EOFError
        size = int.from_bytes(buffer[:PREFIX_BYTES], "big")
        pipe.recv_into(buffer[:size], size, socket.MSG_WAITALL)
        return buffer[:size]

    with pipe:
        try:
            while True:
                first, digest = part(), hashlib.sha256()
                size, reply = (int.from_bytes(first[at : at + HEAD_BYTES], "big") for at in (0, HEAD_BYTES))
                message = bytearray(first[2 * HEAD_BYTES :])
                digest.update(message)
                while len(message) < size:
                    arrived = part()
                    message += arrived
                    digest.update(arrived)
                answer, digest = memoryview(b"\x01" * reply), hashlib.sha256()
                head = reply.to_bytes(HEAD_BYTES, "big") + bytes(HEAD_BYTES)
                for offset in range(0, reply, PART_BYTES):
                    piece = answer[offset : offset + PART_BYTES]
                    digest.update(piece)
                    size = len(piece) + (0 if offset else len(head))
                    pipe.sendall(size.to_bytes(PREFIX_BYTES, "big") + (b"" if offset else head))
                    pipe.sendall(piece)
        except EOFError:
            return
