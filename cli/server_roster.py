"""`sealora server roster`: propose members, collect signatures, and show where things stand."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sealora.cli.enrolment import HERE, AsJson, ServerDir
from sealora.plan.received import load_received
from sealora.protocol.draft import Draft
from sealora.protocol.enrolment import Approval
from sealora.protocol.roster import Revision, fingerprint
from sealora.server.federation_folder import FederationFolder
from sealora.server.roster_book import RosterBook

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Propose and complete rosters.")


@app.command()
def propose(
    folder: ServerDir = HERE,
    colluders: Annotated[
        int | None,
        typer.Option(min=0, help="Members that may lie in vain about the next revision; by default a third."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draft a roster of all enrolled sites, for its members to sign."""
    federation = FederationFolder.open(folder)
    draft = RosterBook(federation).propose(colluders)
    _report(draft, federation, as_json)
    if not as_json:
        print(f"Next: send {federation.draft_path} to {', '.join(sorted(draft.electorate))}.")


@app.command()
def collect(
    paths: Annotated[list[Path], typer.Argument(metavar="APPROVAL...", help="Files that the sites sent.")],
    folder: ServerDir = HERE,
    as_json: AsJson = False,
) -> None:
    """Add signatures to the draft; with enough of them it is in force, and a running coordinator follows."""
    federation = FederationFolder.open(folder)
    approvals = [load_received(Approval, path) for path in paths]
    draft = RosterBook(federation).collect(approvals)
    _report(draft, federation, as_json)
    if not as_json and draft.in_force is not None:
        print(f"In force. Next: send {federation.roster_path} to every site, to accept.")


@app.command()
def status(folder: ServerDir = HERE, as_json: AsJson = False) -> None:
    """Show the roster in force, its words, and the draft that is being signed."""
    federation = FederationFolder.open(folder)
    book = RosterBook(federation)
    roster = book.current() if federation.roster_path.is_file() else None
    draft = book.draft()
    in_force = _revision_facts(roster.revisions[-1]) if roster is not None else None
    facts = {"in_force": in_force, "draft": _draft_facts(draft) if draft is not None else None}
    if as_json:
        print(json.dumps({"federation": federation.words, **facts}, indent=2))
        return
    print(f"Federation {federation.card.name}: {federation.words}")
    _show("In force", facts["in_force"])
    _show("Draft", facts["draft"])


def _report(draft: Draft, federation: FederationFolder, as_json: bool) -> None:
    facts = {**_draft_facts(draft), "in_force": draft.in_force is not None}
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    _show("Revision" if facts["in_force"] else f"Draft of {federation.card.name}", facts)


def _draft_facts(draft: Draft) -> dict[str, Any]:
    missing = sorted(set(draft.electorate) - set(draft.signers))
    signatures = {"signed": list(draft.signers), "missing": missing, "needed": draft.needed}
    return {**_revision_facts(draft.revision), **signatures}


def _revision_facts(revision: Revision) -> dict[str, Any]:
    return {
        "serial": revision.serial,
        "hash": revision.hash.hex(),
        "words": revision.words,
        "colluders": revision.colluders,
        "members": {name: fingerprint(key) for name, key in sorted(revision.members.items())},
    }


def _show(title: str, facts: dict[str, Any] | None) -> None:
    if facts is None:
        print(f"{title}: none")
        return
    print(f"{title}: revision {facts['serial']}, {facts['colluders']} colluders, {facts['words']}")
    for name, words in facts["members"].items():
        print(f"  {name}: {words}")
    if "needed" in facts:
        signed, missing = (", ".join(facts[key]) or "nobody" for key in ("signed", "missing"))
        print(f"  signed by {signed} (needed: {facts['needed']}); missing: {missing}")
