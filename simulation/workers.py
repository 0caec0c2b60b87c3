"""Runs the work of simulated sites, several at a time, with results in the order of asking."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Result = TypeVar("Result")


def run_all(
    work: Callable[[Given], Result], given: Sequence[Given], workers: int, stop: Callable[[], None]
) -> Iterator[tuple[Given, Result]]:
    """Yield (item, result) for each item in order, up to `workers` of them at work at the same time.

    Threads suffice, since torch and the masks release the interpreter's lock. When the iterator is
    abandoned, what has not begun never does; on Ctrl-C `stop` also ends what has.
    """
    if workers == 1:
        yield from ((item, work(item)) for item in given)
        return
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(work, item) for item in given]
        try:
            for item, future in zip(given, futures, strict=True):
                yield item, future.result()
        except KeyboardInterrupt:
            stop()
            raise
        finally:
            for future in futures:
                future.cancel()
