"""Stands between two processes and keeps every byte, both ways: on a Unix socket or on TCP."""

import contextlib
import socket
import threading
from pathlib import Path

CHUNK = 65536


class Recorder:
    """Forwards connections of `listener` to an address of the same family. Use as a context manager."""

    def __init__(self, listener: socket.socket, address: object) -> None:
        self._listener, self._address = listener, address
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self.recorded = {"up": bytearray(), "down": bytearray()}
        """By direction; `down` is towards the one who dialled."""
        listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    @classmethod
    def unix(cls, path: Path, target: Path) -> "Recorder":
        """Between a link, which is told `path`, and the agent's socket."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        return cls(listener, str(target))

    @classmethod
    def tcp(cls, target: int) -> "Recorder":
        """Between a link and a coordinator's port."""
        return cls(socket.create_server(("127.0.0.1", 0)), ("127.0.0.1", target))

    @property
    def port(self) -> int:
        return self._listener.getsockname()[1]

    def holds(self, needle: bytes) -> bool:
        """Whether it went through, in either direction."""
        return any(needle in carried for carried in self.recorded.values())

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for end in self._open:
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        far = socket.socket(self._listener.family)
        self._open += [near, far]
        try:
            far.connect(self._address)
        except OSError:
            near.close()
            return
        threading.Thread(target=self._pump, args=(near, far, "up"), daemon=True).start()
        self._pump(far, near, "down")

    def _pump(self, source: socket.socket, sink: socket.socket, direction: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                with self._lock:
                    self.recorded[direction] += data
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
