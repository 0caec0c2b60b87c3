"""TCP proxies on loopback for tests: one that breaks or blocks connections, one that speaks HTTP CONNECT."""

import contextlib
import socket
import threading

CHUNK = 65536


class Proxy:
    """Forwards connections to a port. `cut_after` breaks the next one that carries so many bytes one way.

    While the network is down (`stop`, or `stop_after`) nothing is forwarded and nothing is closed: neither
    end is told. What came meanwhile goes on when it is up again (`go`).
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self.carried = {"down": 0, "up": 0}
        self.cuts = 0
        self._cut: tuple[str, int] | None = None
        self._stop: tuple[str, int] | None = None
        self._up = threading.Event()
        self._up.set()
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, direction: str, size: int) -> None:
        """`down` is towards the one who dialled."""
        self._cut = direction, self.carried[direction] + size

    def stop(self) -> None:
        self._up.clear()

    def stop_after(self, direction: str, size: int) -> None:
        self._stop = direction, self.carried[direction] + size

    def go(self) -> None:
        self._up.set()

    def cut(self) -> None:
        """Break all connections, now."""
        for end in list(self._open):
            _break(end)

    def close(self) -> None:
        self._up.set()
        self._listener.close()
        self.cut()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        try:
            far = self._reach(near)
        except OSError:
            _break(near)
            return
        self._join(near, far)

    def _reach(self, near: socket.socket) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._target))

    def _join(self, near: socket.socket, far: socket.socket) -> None:
        self._open |= {near, far}
        up = threading.Thread(target=self._pump, args=(near, far, "up"), daemon=True)
        up.start()
        self._pump(far, near, "down")
        up.join()
        self._open -= {near, far}

    def _pump(self, source: socket.socket, sink: socket.socket, direction: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                if self._stop and self._stop[0] == direction and self.carried[direction] >= self._stop[1]:
                    self._stop = None
                    self.stop()
                self._up.wait()
                sink.sendall(data)
                self.carried[direction] += len(data)
                if self._cut and self._cut[0] == direction and self.carried[direction] >= self._cut[1]:
                    self._cut = None
                    self.cuts += 1
                    break
        _break(source)
        _break(sink)


class ConnectProxy(Proxy):
    """Connects to where the client's CONNECT says, and notes it in `asked`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(0)

    def _reach(self, near: socket.socket) -> socket.socket:
        head = b""
        while b"\r\n\r\n" not in head:
            head += near.recv(CHUNK)
        method, place, _ = head.split(b"\r\n")[0].decode().split()
        assert method == "CONNECT"
        self.asked.append(place)
        host, _, port = place.rpartition(":")
        far = socket.create_connection((host, int(port)))
        near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return far


def _break(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
