"""A site's link: `toy_link.py FOLDER SITE ADDRESS [CERTIFICATE]`."""

import asyncio
import sys
from pathlib import Path

from parties import Parties

from sealora.client.backoff import Backoff
from sealora.client.link import Link, LinkSettings
from sealora.plan.logs import Log
from sealora.plan.signals import until_signalled


def main(folder: Path, name: str, address: str, certificate: str) -> int:
    parties = Parties(folder / "parties")

    async def work() -> None:
        settings = LinkSettings(
            address, folder / name / "agent.sock", lambda: parties.credentials(certificate)
        )
        await Link(settings, Log("link"), Backoff(0.05, 0.5)).run()

    return asyncio.run(until_signalled(work()))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:4], sys.argv[-1] if len(sys.argv) > 4 else sys.argv[2]))
