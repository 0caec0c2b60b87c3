"""An agent that answers a request with the request and its digest: `echo_agent.py FOLDER`."""

import asyncio
import hashlib
import sys
from pathlib import Path

from sealora.client.agent import Agent
from sealora.client.site_folder import SiteFolder
from sealora.client.socket_place import SocketPlace
from sealora.plan.logs import Log
from sealora.plan.signals import until_signalled


def main(home: Path) -> int:
    site, log = SiteFolder.open(home), Log("agent")

    def handle(request: bytes) -> bytes:
        log("asked", size=len(request))
        return hashlib.sha256(request).digest() + request

    async def work() -> None:
        await Agent(site.name, handle, log).run(SocketPlace(home / "agent.sock"))

    return asyncio.run(until_signalled(work(), supervised=True))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
