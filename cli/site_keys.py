"""`sealora site init`, `join` and `renew`: keys that stay here, and a certificate for them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from sealora.cli.enrolment import HERE, AsJson, SiteDir, Yes, confirm, show_words, utc_now
from sealora.cli.passphrase import PassphraseFile, new_passphrase, passphrase_for
from sealora.client import enrolment
from sealora.client.pinned_roster import PinnedRoster
from sealora.client.site_folder import SiteFolder
from sealora.plan.received import load_received
from sealora.protocol.enrolment import Bundle
from sealora.protocol.roster import fingerprint


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder for the site.")],
    name: Annotated[str, typer.Option(help="The site's name, the same for all: lower case, such as ams.")],
    passphrase_file: PassphraseFile = None,
    ask: Annotated[bool, typer.Option("--passphrase", help="Ask for a passphrase for the keys.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make this site's keys and a request to be enrolled.

    The keys never leave the folder. Send NAME.request.json to the coordinator, and read the words to
    its operator by telephone.

    Example: sealora site init ams --name ams
    """
    site = enrolment.create(folder, name, new_passphrase(passphrase_file, ask))
    words = fingerprint(site.public)
    if as_json:
        facts = {"name": name, "request": str(site.request_path), "fingerprint": words}
        print(json.dumps(facts, indent=2))
        return
    show_words(f"Fingerprint of {name}", words)
    print(f"Keys are in {site.keys}, and stay there. Settings: {site.settings_path}")
    print(f"Next: send {site.request_path} to the coordinator, and read the words out to its operator.")


def join(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The file from `sealora server enrol`.")],
    folder: SiteDir = HERE,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Check a join bundle, compare its words, and take it into use.

    Compare the words of the federation with its coordinator, and those of the roster with another site.
    """
    site = SiteFolder.open(folder)
    joining = enrolment.examine(site, load_received(Bundle, path), utc_now())
    bundle = joining.bundle
    if not joining.known:
        show_words(f"Federation {bundle.federation}", bundle.words)
    if joining.roster is not None:
        show_words(
            f"Roster, revision {joining.roster.revisions[-1].serial}", joining.roster.revisions[-1].words
        )
    if not joining.known or joining.roster is not None:
        confirm("Are these the words that the others read out?", yes)
    enrolment.join(site, joining)
    expires = f"{joining.certificate.expires:%Y-%m-%d}"
    if as_json:
        pinned = PinnedRoster(site).pinned
        roster = pinned.hash.hex() if pinned is not None else None
        print(json.dumps({"federation": bundle.federation, "expires": expires, "roster": roster}, indent=2))
        return
    print(f"{site.name} has joined {bundle.federation}; its certificate is valid until {expires}.")
    if PinnedRoster(site).pinned is None:
        print("Next: sealora site roster review DRAFT, when the coordinator sends the first roster.")


def renew(folder: SiteDir = HERE, passphrase_file: PassphraseFile = None) -> None:
    """Ask for a new certificate before the old one expires, with a new TLS key and the same identity."""
    site = SiteFolder.open(folder)
    enrolment.renew(site, passphrase_for(site.identity_path, passphrase_file))
    print(f"Next: send {site.request_path} to the coordinator, then join with the bundle that comes back.")
