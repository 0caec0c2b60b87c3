"""How a process that runs for weeks is told to end: SIGTERM by a supervisor, Ctrl-C by a person."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

INTERRUPTED = 130


async def until_signalled(work: Coroutine[Any, Any, None]) -> int:
    """Run until it ends or a signal cancels it; returns 130 after Ctrl-C, and 0 otherwise."""
    received: list[int] = []
    task = asyncio.ensure_future(work)

    def stop(number: int) -> None:
        received.append(number)
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    try:
        await task
    except asyncio.CancelledError:
        if not received:
            raise
    return INTERRUPTED if signal.SIGINT in received else 0
