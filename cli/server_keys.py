"""`sealora server init`, `enrol`, `revoke`, `renew` and `sites`: the federation and who may connect to it."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from sealora.cli.enrolment import HERE, AsJson, ServerDir, Yes, confirm, show_words, utc_now, write_output
from sealora.cli.passphrase import PassphraseFile, new_passphrase, passphrase_for
from sealora.plan.received import load_received
from sealora.protocol.enrolment import EnrolmentRequest, dump
from sealora.protocol.roster import fingerprint
from sealora.server import authority
from sealora.server.federation_folder import FederationFolder

SITE_DAYS = 90


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder for the federation.")],
    name: Annotated[str, typer.Option(help="The federation's name: lower case, such as stroke-registry.")],
    address: Annotated[str, typer.Option(help="HOST:PORT at which sites reach the coordinator.")],
    passphrase_file: PassphraseFile = None,
    ask: Annotated[bool, typer.Option("--passphrase", help="Ask for a passphrase for the keys.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a federation: its certificate authority and the coordinator's keys.

    Example: sealora server init registry --name stroke-registry --address federation.example.org:8443
    """
    made = authority.create(folder, name, address, new_passphrase(passphrase_file, ask), utc_now())
    if as_json:
        print(json.dumps({"name": name, "address": address, "fingerprint": made.words}, indent=2))
        return
    show_words(f"Federation {name}", made.words)
    print(f"Keys are in {made.keys}. Next: sealora server enrol REQUEST, for each site.")


def enrol(
    path: Annotated[Path, typer.Argument(metavar="REQUEST", help="The site's NAME.request.json.")],
    folder: ServerDir = HERE,
    days: Annotated[
        int, typer.Option(min=1, max=825, help="Days that the certificate is valid.")
    ] = SITE_DAYS,
    out: Annotated[Path | None, typer.Option(help="Where to write the join bundle.")] = None,
    passphrase_file: PassphraseFile = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Compare a site's fingerprint, sign its certificate, and write its join bundle.

    Enrolling a site again renews its certificate; its words are then known, and nobody is asked.
    """
    federation = FederationFolder.open(folder)
    request = load_received(EnrolmentRequest, path)
    known = authority.examine(federation, request)
    words = fingerprint(bytes.fromhex(request.identity))
    if known.identity is None:
        show_words(f"Fingerprint of {request.name}", words)
        confirm("Are these the words that the site's operator reads out?", yes)
    passphrase = passphrase_for(federation.authority_key_path, passphrase_file)
    bundle = authority.enrol(federation, request, timedelta(days=days), passphrase, utc_now())
    target = out or Path(f"{request.name}.bundle.json")
    write_output(target, dump(bundle))
    if as_json:
        facts = {"site": request.name, "bundle": str(target), "fingerprint": words}
        print(json.dumps({**facts, "expires": federation.site(request.name).expires}, indent=2))
        return
    print(f"Enrolled {request.name} for {days} days. Next: send {target} to the site.")


def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The site.")], folder: ServerDir = HERE
) -> None:
    """End a site's access at once. Its keys never come back; the site may be enrolled with new ones."""
    authority.revoke(FederationFolder.open(folder), name)
    print(f"Revoked {name}. Next: sealora server roster propose, so that its key leaves the roster too.")


def renew(
    folder: ServerDir = HERE,
    address: Annotated[str, typer.Option(help="A new HOST:PORT; by default the old one.")] = "",
    passphrase_file: PassphraseFile = None,
) -> None:
    """Renew the coordinator's own certificate, perhaps for another address."""
    federation = FederationFolder.open(folder)
    passphrase = passphrase_for(federation.authority_key_path, passphrase_file)
    chosen = address or federation.card.address
    renewed = authority.renew(federation, chosen, passphrase, utc_now())
    print(f"The coordinator's certificate is valid until {renewed.certificate(utc_now()).expires:%Y-%m-%d}.")
    if address:
        print("Next: enrol each site again, for its bundle names the address.")


def sites(folder: ServerDir = HERE, as_json: AsJson = False) -> None:
    """List the sites that were enrolled, with the end of their certificates."""
    found = [
        {
            "name": site.name,
            "state": "enrolled" if site.identity else "revoked",
            "expires": site.expires,
            "fingerprint": fingerprint(bytes.fromhex(site.identity)) if site.identity else "",
        }
        for site in FederationFolder.open(folder).sites()
    ]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for site in found:
        print(f"{site['name']}: {site['state']} {site['expires'][:10]} {site['fingerprint']}".rstrip())
