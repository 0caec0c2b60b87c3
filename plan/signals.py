"""How a process that runs for weeks is told to end: by a supervisor, or by Ctrl-C."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any

INTERRUPTED = 130


async def until_signalled(work: Coroutine[Any, Any, None], supervised: bool = False) -> int:
    """Run until it ends, or SIGTERM or Ctrl-C cancels it; returns 130 after Ctrl-C, and 0 otherwise.

    A supervised process also ends with its supervisor, however that was killed: standard input, which
    the supervisor holds open, then closes.
    """
    received: list[int] = []
    task = asyncio.ensure_future(work)

    def stop(number: int) -> None:
        received.append(number)
        task.cancel()

    def look() -> None:
        if not os.read(sys.stdin.fileno(), 1):
            stop(signal.SIGTERM)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    if supervised:
        loop.add_reader(sys.stdin.fileno(), look)
    try:
        await task
    except asyncio.CancelledError:
        if not received:
            raise
    return INTERRUPTED if signal.SIGINT in received else 0
