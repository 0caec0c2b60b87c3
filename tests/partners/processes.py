"""Starts, watches, cuts and kills the processes of a federation. Nothing sleeps: it waits for log lines."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import toy_plan
from parties import Parties

HERE = Path(__file__).parent
PATIENCE = 60.0
"""Seconds for anything to happen; a test that waits longer has failed."""


class Process:
    """One process and the JSON lines of its log."""

    def __init__(self, *command: object, environment: dict[str, str] | None = None) -> None:
        self.command = " ".join(map(str, command))
        self._process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            stdin=subprocess.PIPE,  # agents and links end when it closes, so with the test
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
        )
        self.lines: list[dict[str, object]] = []
        self.other: list[str] = []
        self._seen = 0
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        return self._process.poll()

    def wait_for(self, event: str, **fields: object) -> dict[str, object]:
        """The next log line after the last one waited for that has this event and these fields."""
        with self._news:
            found = self._news.wait_for(lambda: self._find(event, fields), PATIENCE)
        assert found, f"no {event} {fields} within {PATIENCE} s"
        return self.lines[self._seen - 1]

    def events(self, event: str) -> list[dict[str, object]]:
        return [line for line in self.lines if line["event"] == event]

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        self._process.send_signal(number)
        return self.finish()

    def finish(self) -> int:
        """Wait for the end; returns the exit code."""
        code = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def output(self) -> str:
        """Standard output, once it has ended with success."""
        assert self._process.stdout is not None
        output = self._process.stdout.read().decode()
        assert self.finish() == 0, (output, self.lines, self.other)
        return output

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Every write to a file fails, as on a full disk; pipes and sockets are no files."""
        before = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            yield
        finally:
            if self.code is None:
                resource.prlimit(self.pid, resource.RLIMIT_FSIZE, before)

    def end(self) -> None:
        """Make sure that it is gone."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def _find(self, event: str, fields: dict[str, object]) -> bool:
        while self._seen < len(self.lines):
            line = self.lines[self._seen]
            self._seen += 1
            if line["event"] == event and fields.items() <= line.items():
                return True
        return False

    def _read(self) -> None:
        assert self._process.stderr is not None
        for raw in self._process.stderr:
            with self._news:
                try:
                    self.lines.append(json.loads(raw))
                except ValueError:
                    self.other.append(raw.decode())
                self._news.notify_all()


class Gate:
    """Keeps a site from training, or from the work of one request, until it is opened."""

    def __init__(self, home: Path, name: str = "gate") -> None:
        self._path = home / name
        os.mkfifo(self._path)

    def open(self) -> None:
        """Let who waits go on, and all after."""
        with self._path.open("wb"):
            self._path.unlink()

    def remove(self) -> None:
        """Nobody waits here any more."""
        self._path.unlink()


class Federation:
    """A coordinator and sites, each an agent and a link, in processes of their own."""

    def __init__(
        self,
        root: Path,
        sites: int,
        patience: float = PATIENCE,
        answer_seconds: float = PATIENCE,
        **plan: object,
    ) -> None:
        self.root = root
        self.seconds = patience, answer_seconds
        root.mkdir(exist_ok=True)
        toy_plan.write(root, sites, **plan)
        self.names = [f"site-{number}" for number in range(1, sites + 1)]
        self.port = free_port()
        colluders = int(plan.get("colluders", sites // 3))
        self.parties = Parties.make(root, self.names, f"127.0.0.1:{self.port}", colluders)
        self.environment: dict[str, str] = {}
        self.agents: dict[str, Process] = {}
        self.links: dict[str, Process] = {}
        self.started: list[Process] = []
        self.coordinator: Process

    def __enter__(self) -> "Federation":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for process in self.started:
            process.end()
            if kind is not None:
                print(process.command, process.code, *process.lines[-15:], *process.other, sep="\n  ")

    def start(self, *command: object, **options: object) -> Process:
        given = {**self.environment, **options.pop("environment", {})}
        process = Process(*command, environment=given, **options)
        self.started.append(process)
        return process

    def coordinate(self) -> Process:
        self.coordinator = self.start(HERE / "toy_coordinator.py", self.root, self.port, *self.seconds)
        return self.coordinator

    def agent(self, site: str) -> Process:
        self.agents[site] = self.start(HERE / "toy_agent.py", self.root, site)
        return self.agents[site]

    def link(self, site: str, port: int | None = None, **options: object) -> Process:
        address = f"127.0.0.1:{port or self.port}"
        self.links[site] = self.start(HERE / "toy_link.py", self.root / site, address, **options)
        return self.links[site]

    def gate(self, site: str) -> Gate:
        """To be made before the site's agent is started."""
        return Gate(self.root / site)

    def hold(self, site: str, round_number: int, phase: int) -> Gate:
        """Keeps a site from working on one phase's request, 0 being training."""
        return Gate(self.root / site, f"hold-{round_number}-{phase}")

    def open(self) -> None:
        """Start everything."""
        self.coordinate()
        for site in self.names:
            self.agent(site)
            self.link(site)

    def result(self) -> dict[str, object]:
        return json.loads(self.coordinator.output())


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
