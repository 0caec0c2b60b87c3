"""Frames over the Unix socket between a site's agent and its link: four bytes of length, then the frame."""

import asyncio
import socket

from sealora.protocol.errors import ProtocolError
from sealora.protocol.frames import MAX_FRAME_BYTES
from sealora.protocol.long_fields import Bytes

PREFIX_BYTES = 4
BUFFER_BYTES = 1 << 20


class Pipe:
    """One end of a connected socket. One task may read and one may write at a time."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        self._socket = connection
        self._buffer = bytearray(PREFIX_BYTES)

    async def read(self) -> Bytes | None:
        """The next frame, in memory that is used again; None once the other side has closed.

        Raises OSError, and ProtocolError.
        """
        prefix = await self._exactly(PREFIX_BYTES)
        if prefix is None:
            return None
        size = int.from_bytes(prefix, "big")
        if not 0 < size <= MAX_FRAME_BYTES:
            raise ProtocolError("malformed", "the frame is empty or too long")
        return await self._exactly(size)

    async def write(self, frame: bytes) -> None:
        """Send a frame. Raises OSError."""
        prefix = len(frame).to_bytes(PREFIX_BYTES, "big")
        try:
            sent = self._socket.sendmsg((prefix, frame))
        except BlockingIOError:
            sent = 0
        loop = asyncio.get_running_loop()
        if sent < PREFIX_BYTES:
            await loop.sock_sendall(self._socket, prefix[sent:])
        if sent < PREFIX_BYTES + len(frame):
            await loop.sock_sendall(self._socket, memoryview(frame)[max(0, sent - PREFIX_BYTES) :])

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    async def _exactly(self, size: int) -> memoryview | None:
        """So many bytes; None if the connection ends before."""
        if len(self._buffer) < size:
            self._buffer = bytearray(size)  # kept: fresh memory for each frame costs more than its bytes
        view, filled = memoryview(self._buffer)[:size], 0
        loop = asyncio.get_running_loop()
        while filled < size:
            count = await loop.sock_recv_into(self._socket, view[filled:])
            if count == 0:
                return None
            filled += count
        return view
