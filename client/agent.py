"""The agent of a site: has data, model, keys, policy and ledger, and no network.

It listens on a Unix socket for the site's link, takes requests from frames, works on one at a time in
a thread, and answers. The link may be cut or restarted meanwhile; nothing is lost with it.
"""

import asyncio
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

from sealora.client.desk import Desk
from sealora.client.pipe import Pipe
from sealora.client.refusal_pace import RefusalPace
from sealora.client.socket_place import SocketPlace
from sealora.plan.logs import Log
from sealora.protocol import frames, messages
from sealora.protocol.carrier import Carrier
from sealora.protocol.channel import Arrived, SiteEnd
from sealora.protocol.errors import ProtocolError, RunError
from sealora.protocol.frames import VERSIONS, Hello, Welcome
from sealora.protocol.messages import MAX_MESSAGE_BYTES, Reason, Refusal

Handler = Callable[[bytes], bytes]
FAILED = messages.reply(Refusal(Reason.FAILED, "the site failed; its operator finds the reason in its log"))


class Agent:
    """Answers requests with `handle`, which is called in one thread, one request after the other.

    A request of more than `largest` bytes ends its connection.
    """

    def __init__(self, site: str, handle: Handler, log: Log, largest: int = MAX_MESSAGE_BYTES) -> None:
        self._site = site
        self._handle = handle
        self._log = log
        self._instance = frames.new_id()
        self._end = SiteEnd(largest)
        self._desk = Desk()
        self._pace = RefusalPace()
        self._requests: SimpleQueue[bytes] = SimpleQueue()
        self._carrier = Carrier(self._end, self._take)

    async def run(self, place: SocketPlace) -> None:
        """Serve the link at a socket until cancelled. Raises UsageError if it cannot be made."""
        listener = place.listen()
        # A thread that may be left behind: a training does not keep the process from ending.
        threading.Thread(target=self._work, args=(asyncio.get_running_loop(),), daemon=True).start()
        self._log("listening", socket=place.path)
        serving: asyncio.Task[None] | None = None
        try:
            while True:
                connection, _ = await asyncio.get_running_loop().sock_accept(listener)
                if serving is not None:
                    serving.cancel()
                    await asyncio.gather(serving, return_exceptions=True)
                serving = asyncio.create_task(self._serve(Pipe(connection)))
        finally:
            if serving is not None:
                serving.cancel()
            listener.close()
            place.path.unlink(missing_ok=True)

    async def _serve(self, pipe: Pipe) -> None:
        """One connection of the link."""
        try:
            await pipe.write(Hello(self._site, self._instance).serialise())
            if await self._greeted(pipe):
                await self._carrier.carry(pipe)
        except OSError:
            pass  # the link has gone, and says why in its own log
        except ProtocolError as error:
            self._log("link_failed", failure=error.failure, reason=error.message)
        finally:
            pipe.close()

    async def _greeted(self, pipe: Pipe) -> bool:
        """Whether the coordinator welcomed the site. Raises ProtocolError."""
        raw = await pipe.read()
        if raw is None:
            return False
        welcome = frames.parse(raw)
        if not isinstance(welcome, Welcome) or welcome.version not in VERSIONS:
            raise ProtocolError("version", "the coordinator does not welcome the site in a known version")
        self._log("welcomed", plan=welcome.plan_hash.hex())
        return True

    def _take(self, asked: Arrived) -> None:
        answer = self._desk.take(asked)
        if answer is not None:
            self._end.answer(answer.exchange, answer.message)
        self._begin()

    def _begin(self) -> None:
        request = self._desk.begin()
        if request is not None:
            self._requests.put(request)

    def _finish(self, reply: bytes) -> None:
        answer = self._desk.finish(reply)
        self._end.answer(answer.exchange, answer.message)
        self._begin()
        self._carrier.wake()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """The thread: whatever happens in it becomes an answer."""
        while True:
            request = self._requests.get()
            try:
                reply = self._handle(request)
            except Exception as error:
                self._log("failed", kind=type(error).__name__, where=_place(error), reason=_shown(error))
                reply = FAILED
            self._hold(self._pace.seconds(reply))
            loop.call_soon_threadsafe(self._finish, reply)

    def _hold(self, seconds: float) -> None:
        """Wait before an answer leaves; nothing is worked on meanwhile."""
        if seconds:
            self._log("held", seconds=round(seconds))
            time.sleep(seconds)


def _shown(error: Exception) -> str | None:
    """What an exception says, if it is of the machine: another's text can quote a record."""
    if isinstance(error, RunError):
        return error.message
    return error.strerror if isinstance(error, OSError) else None


def _place(error: Exception) -> str:
    """File and line at which an exception was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"
