"""A site's link that tries again soon: `toy_link.py FOLDER ADDRESS [SOCKET]`."""

import asyncio
import sys
from datetime import UTC
from pathlib import Path

from switches import shorten_keepalive, wrong_clock

from sealora.client.backoff import Backoff
from sealora.client.link import Link, LinkSettings
from sealora.client.site_folder import SiteFolder
from sealora.plan.logs import Log
from sealora.plan.signals import until_signalled


def main(folder: Path, address: str, socket: Path) -> int:
    shorten_keepalive()
    site, clock = SiteFolder.open(folder), wrong_clock(folder)

    async def work() -> None:
        settings = LinkSettings(address, socket, lambda: site.credentials(None, clock.now(UTC)))
        await Link(settings, Log("link"), Backoff(0.05, 0.5)).run()

    return asyncio.run(until_signalled(work(), supervised=True))


if __name__ == "__main__":
    home = Path(sys.argv[1])
    sys.exit(main(home, sys.argv[2], Path(sys.argv[3]) if len(sys.argv) > 3 else home / "agent.sock"))
