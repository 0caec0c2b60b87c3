"""`sealora server log` and `verify`: what was done at the coordinator."""

from typing import Annotated

import typer

from sealora.cli.enrolment import HERE, AsJson, ServerDir
from sealora.cli.logs import records, show_log, show_verified, verified
from sealora.server.federation_folder import FederationFolder
from sealora.server.roster_book import RosterBook


def log(
    folder: ServerDir = HERE,
    last: Annotated[int, typer.Option(min=0, help="Only so many of the newest records; 0 shows all.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Print the coordinator's log: enrolments, rosters, rounds, and what each site answered."""
    show_log(FederationFolder.open(folder).audit_path, last, as_json)


def verify(folder: ServerDir = HERE, as_json: AsJson = False) -> None:
    """Check every link of the coordinator's log, and the roster's signatures."""
    federation = FederationFolder.open(folder)
    records(federation.audit_path)
    found = [verified(federation.audit_path)]
    if federation.roster_path.is_file():
        roster = RosterBook(federation).current()
        lines = len(roster.revisions)
        found.append({"file": federation.roster_path.name, "lines": lines, "head": roster.hash.hex()})
    show_verified(found, as_json)
