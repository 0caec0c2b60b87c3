"""Runs the work of simulated sites, several at a time, with results in the order of asking."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Result = TypeVar("Result")


AHEAD = 2
"""Results for each worker that may wait to be taken, so that memory does not grow with their number."""


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
        begun: deque[tuple[Given, Future[Result]]] = deque()
        try:
            for item in given:
                begun.append((item, pool.submit(work, item)))
                if len(begun) >= AHEAD * workers:
                    yield _next(begun)
            while begun:
                yield _next(begun)
        except KeyboardInterrupt:
            stop()
            raise
        finally:
            for _, future in begun:
                future.cancel()


def _next(begun: deque[tuple[Given, Future[Result]]]) -> tuple[Given, Result]:
    """The oldest item and its result, of which nothing is kept."""
    item, future = begun.popleft()
    return item, future.result()
