"""Keeps the two halves of a site running: the agent and the link, each a process of its own."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sealora.client.backoff import Backoff
from sealora.plan.logs import Log
from sealora.protocol.carrier import first_to_end
from sealora.protocol.errors import RefusedError, UsageError

FINAL = (UsageError.exit_code, RefusedError.exit_code)
"""Exit codes that starting again would not change."""
GRACE_SECONDS = 10


@dataclass
class Supervisor:
    """Starts a half again when it was killed; the other waits for it meanwhile."""

    commands: Mapping[str, Sequence[str]]
    """By half."""
    log: Log
    backoff: Mapping[str, Backoff] = field(default_factory=dict)
    code: int = 0
    """The exit code of the half that ended for good."""

    async def run(self) -> None:
        """Until cancelled, or until a half ends for good; then the other is told to end, too."""
        await first_to_end(*(self._keep(half) for half in self.commands))

    async def _keep(self, half: str) -> None:
        backoff = self.backoff.get(half) or Backoff()
        while (code := await self._once(half)) not in FINAL:
            self.log("ended", half=half, code=code)
            await asyncio.sleep(backoff.next())
        self.code = code

    async def _once(self, half: str) -> int:
        """Run a half to its end; returns its exit code."""
        process = await asyncio.create_subprocess_exec(*self.commands[half], stdin=asyncio.subprocess.PIPE)
        self.log("started", half=half, pid=process.pid)
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask a process to end; after a while, make it."""
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), GRACE_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
