"""The fleet of partner sites: the synchronous round loop here, an event loop in a thread behind it."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Self, TypeVar

from sealora.plan.logs import Log
from sealora.protocol.certificates import Credentials
from sealora.protocol.messages import MAX_MESSAGE_BYTES, is_opening
from sealora.server.listener import Listener
from sealora.server.phase import Answers, Phase, Waiting
from sealora.server.switchboard import MEMORY_BYTES, Presence, Switchboard

Result = TypeVar("Result")


@dataclass(frozen=True)
class FleetSettings:
    """How the coordinator treats its sites; what its operator may change without asking anybody."""

    listen: str = "127.0.0.1:0"
    patience: float = 60.0
    """Seconds for which a site that has gone is waited for once all others have answered."""
    answer_seconds: float = 300.0
    """Seconds to answer a message that needs no training."""
    memory: int = MEMORY_BYTES
    """Bytes of replies that may arrive at the same time."""


class GrpcFleet:
    """Implements Fleet over the sites that dial in. Use as a context manager.

    `sites` are the members now; `least` is how many of them a training needs: below that it waits for
    others until the deadline. No reply is longer than `largest` bytes.
    """

    def __init__(
        self,
        sites: Callable[[], Sequence[str]],
        plan_hash: bytes,
        credentials: Credentials,
        admit: Callable[[bytes], str],
        settings: FleetSettings,
        log: Log,
        least: int = 0,
        largest: int = MAX_MESSAGE_BYTES,
        told: Callable[[Presence], None] = lambda _: None,
    ) -> None:
        self._sites = sites
        self._plan_hash = plan_hash
        self._credentials = credentials
        self._admit = admit
        self._settings = settings
        self._log = log
        self._least = least
        self._largest = largest
        self._told = told
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="link", daemon=True)
        self.port = 0
        """That sites dial; known once the fleet is entered."""

    def __enter__(self) -> Self:
        """Listen. Raises UsageError if the address cannot be had."""
        self._thread.start()
        try:
            self._call(self._open())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End all connections."""
        self._call(self._close())
        self._stop()

    @property
    def sites(self) -> tuple[str, ...]:
        """See Fleet."""
        return tuple(sorted(self._sites()))

    def exchange(self, requests: Mapping[str, bytes], deadline: float) -> Iterator[tuple[str, bytes]]:
        """See Fleet. A site that is absent gets its request when it comes, while the phase is open."""
        answers: Answers = SimpleQueue()
        phase = self._call(self._ask(requests, self._waiting(requests, deadline), answers))
        try:
            while (answer := answers.get()) is not None:
                yield answer
                self._loop.call_soon_threadsafe(self._board.consumed, answer[:1])
        finally:
            self._loop.call_soon_threadsafe(phase.close)
            self._loop.call_soon_threadsafe(self._board.consumed, tuple(requests))

    @property
    def presence(self) -> Presence:
        """Who is there now."""
        return self._call(self._look())

    async def _open(self) -> None:
        self._board = Switchboard(self._sites, self._told, self._settings.memory, self._largest)
        self._listener = Listener(self._board, self._plan_hash, self._admit, self._log)
        self.port = await self._listener.open(self._settings.listen, self._credentials, len(self._sites()))

    async def _close(self) -> None:
        await self._listener.close()
        # What gRPC leaves running would complain when the loop goes.
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _ask(self, requests: Mapping[str, bytes], waiting: Waiting, answers: Answers) -> Phase:
        return self._board.open(requests, waiting, answers)

    async def _look(self) -> Presence:
        return self._board.presence

    def _waiting(self, requests: Mapping[str, bytes], deadline: float) -> Waiting:
        """Training takes as long as the plan allows; what needs none is answered soon, or never."""
        patience = self._settings.patience
        if any(map(is_opening, requests.values())):
            return Waiting(deadline, patience, min(self._least, len(requests)))
        return Waiting(min(deadline, self._settings.answer_seconds), patience)

    def _call(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
