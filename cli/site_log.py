"""`sealora site log`, `verify` and `egress`: what was asked, what was answered, and what left."""

import json
from typing import Annotated

import typer

from sealora.cli.enrolment import HERE, AsJson, SiteDir
from sealora.cli.logs import records, show_log, show_verified, verified
from sealora.client import approval
from sealora.client.pinned_roster import PinnedRoster
from sealora.client.site_folder import SiteFolder
from sealora.privacy.audit_log import traffic
from sealora.privacy.ledger import LEDGER, read_charges, read_header


def log(
    folder: SiteDir = HERE,
    last: Annotated[int, typer.Option(min=0, help="Only so many of the newest records; 0 shows all.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Print the site's log: what was asked and answered, when, how large; never contents."""
    show_log(SiteFolder.open(folder).audit_path, last, as_json)


def verify(folder: SiteDir = HERE, as_json: AsJson = False) -> None:
    """Check every link of the site's log, approvals and privacy ledgers, and its roster's signatures.

    A file cut back to an earlier line verifies: compare its head with one that was noted before.
    """
    site = SiteFolder.open(folder)
    records(site.audit_path)
    found = [verified(site.audit_path)]
    if site.approvals_path.is_file():
        approval.read(site)
        found.append(verified(site.approvals_path, approval.APPROVALS))
    for ledger in sorted(site.ledgers.glob("*.jsonl")):
        read_header(ledger)
        read_charges(ledger)
        found.append(verified(ledger, LEDGER))
    roster = PinnedRoster(site).pinned
    if roster is not None:
        lines = len(roster.revisions)
        found.append({"file": site.roster_path.name, "lines": lines, "head": roster.hash.hex()})
    show_verified(found, as_json)


def egress(folder: SiteDir = HERE, as_json: AsJson = False) -> None:
    """Add up every byte that left the site, by kind of message."""
    sums = traffic(records(SiteFolder.open(folder).audit_path), "out")
    if as_json:
        facts = {kind: {"messages": part.messages, "bytes": part.size} for kind, part in sums.items()}
        print(json.dumps(facts, indent=2))
        return
    for kind, part in sums.items():
        print(f"{kind:<14} {part.messages:>8} messages {part.size:>16,} bytes")
    print(
        f"{'all':<14} {sum(part.messages for part in sums.values()):>8} messages "
        f"{sum(part.size for part in sums.values()):>16,} bytes"
    )
