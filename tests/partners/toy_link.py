"""A site's link that tries again soon: `toy_link.py FOLDER ADDRESS [SOCKET]`."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from sealora.client.backoff import Backoff
from sealora.client.link import Link, LinkSettings
from sealora.client.site_folder import SiteFolder
from sealora.plan.logs import Log
from sealora.plan.signals import until_signalled


def main(folder: Path, address: str, socket: Path) -> int:
    site = SiteFolder.open(folder)

    async def work() -> None:
        settings = LinkSettings(address, socket, lambda: site.credentials(None, datetime.now(UTC)))
        await Link(settings, Log("link"), Backoff(0.05, 0.5)).run()

    return asyncio.run(until_signalled(work(), supervised=True))


if __name__ == "__main__":
    home = Path(sys.argv[1])
    sys.exit(main(home, sys.argv[2], Path(sys.argv[3]) if len(sys.argv) > 3 else home / "agent.sock"))
