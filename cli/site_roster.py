"""`sealora site roster`: read, sign and accept the list of members and their keys."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from sealora.cli.enrolment import HERE, AsJson, SiteDir, Yes, confirm, show_words, write_output
from sealora.cli.passphrase import PassphraseFile, passphrase_for
from sealora.client.pinned_roster import PinnedRoster
from sealora.client.site_folder import SiteFolder
from sealora.plan.received import judging, read_received
from sealora.protocol.draft import Draft, changes
from sealora.protocol.enrolment import dump
from sealora.protocol.roster import MAX_ROSTER_BYTES, Revision, Roster, fingerprint

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Read, sign and accept rosters.")

DraftPath = Annotated[Path, typer.Argument(metavar="DRAFT", help="The file that the coordinator sent.")]


@app.command()
def review(path: DraftPath, folder: SiteDir = HERE, as_json: AsJson = False) -> None:
    """Show what a draft or a roster would change here, and the fingerprint of every key.

    Compare each fingerprint with its own organisation, by telephone, before you sign.
    """
    site = SiteFolder.open(folder)
    draft = _draft(path)
    book = PinnedRoster(site)
    book.examine_draft(draft, _coordinator(site))
    facts = _facts(draft, book.pinned)
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    _show(facts)


@app.command()
def sign(
    path: DraftPath,
    folder: SiteDir = HERE,
    out: Annotated[Path | None, typer.Option(help="Where to write the approval.")] = None,
    passphrase_file: PassphraseFile = None,
    yes: Yes = False,
) -> None:
    """Approve a draft with this site's identity key, after its fingerprints were compared."""
    site = SiteFolder.open(folder)
    draft = _draft(path)
    book = PinnedRoster(site)
    book.examine_draft(draft, _coordinator(site))
    _show(_facts(draft, book.pinned))
    confirm("Were all fingerprints compared with their organisations?", yes)
    identity = site.identity(passphrase_for(site.identity_path, passphrase_file))
    approval = book.sign(draft, identity, _coordinator(site))
    target = out or Path(f"{site.name}.approval.json")
    write_output(target, dump(approval))
    print(f"Signed. Next: send {target} to the coordinator.")


@app.command()
def accept(
    path: Annotated[Path, typer.Argument(metavar="ROSTER", help="The roster that is in force.")],
    folder: SiteDir = HERE,
    yes: Yes = False,
) -> None:
    """Follow a roster that a quorum has signed. Rounds under another one are refused."""
    site = SiteFolder.open(folder)
    with judging(path):
        roster = Roster.parse(read_received(path, MAX_ROSTER_BYTES))
    book = PinnedRoster(site)
    before = book.pinned
    later = book.examine(roster, _coordinator(site))
    if not later:
        print(f"{site.name} follows this roster already.")
        return
    revision = roster.revisions[-1]
    if book.follow(roster.serialise(), _coordinator(site)) != roster:
        _show(_revision_facts(before.revisions[-1] if before is not None else None, revision))
        show_words(f"Roster, revision {revision.serial}", revision.words)
        confirm("Are these the words that another site reads out?", yes)
        book.accept(roster)
    print(f"{site.name} follows revision {revision.serial}, with {len(revision.members)} members.")


def _draft(path: Path) -> Draft:
    with judging(path):
        return Draft.parse(read_received(path, MAX_ROSTER_BYTES))


def _coordinator(site: SiteFolder) -> bytes:
    return bytes.fromhex(site.bundle().coordinator)


def _facts(draft: Draft, pinned: Roster | None) -> dict[str, Any]:
    known = pinned.revisions[-1] if pinned is not None else None
    signatures = {"signed": list(draft.signers), "needed": draft.needed}
    return {**_revision_facts(known, draft.revision), **signatures}


def _revision_facts(before: Revision | None, revision: Revision) -> dict[str, Any]:
    return {
        "serial": revision.serial,
        "hash": revision.hash.hex(),
        "words": revision.words,
        "colluders": revision.colluders,
        "changes": asdict(changes(before, revision)),
        "coordinator": fingerprint(revision.coordinator),
        "members": {name: fingerprint(key) for name, key in sorted(revision.members.items())},
    }


def _show(facts: dict[str, Any]) -> None:
    marks = {name: kind for kind in ("added", "rekeyed") for name in facts["changes"][kind]}
    before = facts["changes"]["colluders"]
    colluders = f"{facts['colluders']} colluders" + (f" (was {before})" if before is not None else "")
    print(f"Revision {facts['serial']}, {len(facts['members'])} members, {colluders}")
    for name, words in facts["members"].items():
        print(f"  {name} ({marks[name]}): {words}" if name in marks else f"  {name}: {words}")
    for name in facts["changes"]["removed"]:
        print(f"  {name} (removed)")
    changed = " (changed)" if facts["changes"]["coordinator"] else ""
    print(f"  coordinator{changed}: {facts['coordinator']}")
    print(f"  the whole revision: {facts['words']}")
    if "needed" in facts:
        signed = ", ".join(facts["signed"]) or "nobody yet"
        print(f"Signed by {signed}; {facts['needed']} signatures put it in force.")
