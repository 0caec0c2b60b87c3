"""Enrolment at the site: make keys, ask for a certificate, and join with what comes back."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sealora.client.pinned_roster import PinnedRoster
from sealora.client.site_folder import SiteCard, SiteFolder
from sealora.client.starter import starter
from sealora.plan.durable import make_private_folder, write_durably
from sealora.plan.key_files import write_key
from sealora.plan.received import judging
from sealora.protocol.certificates import (
    NAME,
    Certificate,
    check_authority,
    new_tls_key,
    tls_public,
    verify_certificate,
)
from sealora.protocol.enrolment import Bundle, EnrolmentRequest, dump
from sealora.protocol.errors import ProtocolError, RefusedError, UsageError
from sealora.protocol.keys import IdentityKey
from sealora.protocol.roster import Roster


def create(path: Path, name: str, passphrase: bytes | None) -> SiteFolder:
    """Make a site's folder with its keys, a policy to start from, and an enrolment request.

    Raises UsageError if the name cannot be used, or the folder holds something already.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} cannot be a site's name.",
            "Use 1 to 63 lower-case letters, digits and hyphens, such as ams or st-mary.",
        )
    make_private_folder(path)
    identity = IdentityKey.generate()
    folder = SiteFolder(path, name, identity.public)
    folder.keys.mkdir(mode=0o700)
    write_key(folder.identity_path, identity, passphrase)
    folder.settings_path.write_text(starter(), encoding="utf-8")
    _request(folder, identity, passphrase)
    # The card makes it a site's folder, so it comes last.
    write_durably(path / "site.json", dump(SiteCard(name=name, identity=identity.public.hex())))
    with folder.audit_log() as log:
        log.record("keys made", "local", detail={"identity": identity.public.hex()})
    return folder


def renew(folder: SiteFolder, passphrase: bytes | None) -> None:
    """Write a new request, for a fresh TLS key; the key in use stays until the new bundle is joined."""
    _request(folder, folder.identity(passphrase), passphrase)
    with folder.audit_log() as log:
        log.record("renewal asked for", "local")


def _request(folder: SiteFolder, identity: IdentityKey, passphrase: bytes | None) -> None:
    key = new_tls_key()
    write_key(folder.tls_key_path(tls_public(key.public_key())), key, passphrase)
    write_durably(folder.request_path, dump(EnrolmentRequest.make(folder.name, identity, key)))


@dataclass(frozen=True)
class Joining:
    """A bundle that passed every check that a machine can make."""

    bundle: Bundle
    certificate: Certificate
    roster: Roster | None
    """What it brings that is not followed here yet."""
    known: bool
    """Whether the site joined this federation before, so that nobody need compare it again."""


def examine(folder: SiteFolder, bundle: Bundle, now: datetime) -> Joining:
    """Check a bundle before its fingerprints are shown.

    Raises: UsageError if it is malformed; RefusedError if it is forged, expired, for another site or key,
    of another federation than the one joined before, or brings a roster that does not continue the
    approved one.
    """
    with judging("the bundle"):
        bundle.check()
        check_authority(bundle.authority.encode())
        certificate = verify_certificate(bundle.certificate.encode(), bundle.authority.encode(), "site", now)
        _require_own(folder, bundle, certificate)
        roster = Roster.parse(bundle.roster.encode()) if bundle.roster else None
    known = folder.bundle_path.is_file()
    if known:
        _require_same_federation(folder.bundle(), bundle)
    if roster is not None and not PinnedRoster(folder).examine(roster, bytes.fromhex(bundle.coordinator)):
        roster = None
    return Joining(bundle, certificate, roster, known)


def join(folder: SiteFolder, joining: Joining) -> None:
    """Take an examined bundle into use, once the operator has compared its fingerprints."""
    write_durably(folder.bundle_path, dump(joining.bundle))
    if joining.roster is not None:
        PinnedRoster(folder).accept(joining.roster)
    _forget_older_keys(folder, joining.certificate)
    facts = {
        "federation": joining.bundle.federation,
        "serial": f"{joining.certificate.serial:x}",
        "expires": joining.certificate.expires.isoformat(),
    }
    with folder.audit_log() as log:
        log.record("joined", "local", detail=facts)


def _require_own(folder: SiteFolder, bundle: Bundle, certificate: Certificate) -> None:
    party = certificate.party
    if (party.federation, party.name, bundle.site) != (bundle.federation, folder.name, folder.name):
        raise ProtocolError("stranger", f"it is for another site than {folder.name}")
    if not secrets.compare_digest(party.identity, folder.public):
        raise ProtocolError("substituted", "its certificate names another identity key than this site's")
    if not folder.tls_key_path(certificate.tls_key).is_file():
        raise ProtocolError("substituted", "its certificate is not for a TLS key of this site")


def _require_same_federation(before: Bundle, bundle: Bundle) -> None:
    if before.words != bundle.words:
        raise RefusedError(
            f"the bundle is of another federation than {before.federation}, which this site joined.",
            "Make a folder for each federation with `sealora site init`.",
        )


def _forget_older_keys(folder: SiteFolder, certificate: Certificate) -> None:
    """A renewed certificate replaces the keys before; the bundle for a key made since may be on its way."""
    joined = folder.tls_key_path(certificate.tls_key)
    for path in folder.keys.glob("tls-*.pem"):
        if path != joined and path.stat().st_mtime_ns <= joined.stat().st_mtime_ns:
            path.unlink()
