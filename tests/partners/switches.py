"""What tests change in a process that they start: a short keepalive, and a clock that is wrong."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sealora.protocol import transport

KEEPALIVE = "TOY_KEEPALIVE_SECONDS"


def shorten_keepalive() -> None:
    """As the environment says, for keepalive and patience alike."""
    if seconds := os.environ.get(KEEPALIVE):
        transport.COMMON |= keepalive(int(seconds))
        transport.KEEPALIVE_SECONDS = int(seconds)


def keepalive(seconds: int) -> dict[str, int]:
    """The options of gRPC that make it so, also where it waits for an answer to a ping of its own."""
    names = "keepalive_time_ms", "keepalive_timeout_ms", "http2.ping_timeout_ms"
    return {f"grpc.{name}": seconds * 1000 for name in names}


def wrong_clock(folder: Path) -> type[datetime]:
    """A class like `datetime` that is late or early by the hours in the file `clock`, read each time."""

    class WrongClock(datetime):
        @classmethod
        def now(cls, tz=None):
            path = folder / "clock"
            hours = float(path.read_text()) if path.exists() else 0.0
            return datetime.now(tz or UTC) + timedelta(hours=hours)

    return WrongClock
