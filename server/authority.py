"""The federation's authority: makes a federation, certifies sites, revokes them, and guards the link."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sealora.plan.durable import make_private_folder, write_durably
from sealora.plan.key_files import read_tls_key, write_key
from sealora.plan.received import judging
from sealora.protocol import certificates
from sealora.protocol.certificates import NAME, Party, new_tls_key, verify_certificate
from sealora.protocol.enrolment import Bundle, EnrolmentRequest, dump, split_address
from sealora.protocol.errors import ProtocolError, RefusedError, UsageError
from sealora.protocol.keys import IdentityKey
from sealora.server.federation_folder import FederationCard, FederationFolder, SiteRecord

COORDINATOR_DAYS = 365


def create(path: Path, name: str, address: str, passphrase: bytes | None, now: datetime) -> FederationFolder:
    """Make a federation: its authority, and the coordinator's TLS and protocol keys.

    Raises UsageError if the name or address cannot be used, or the folder holds something already.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} cannot be a federation's name.",
            "Use 1 to 63 lower-case letters, digits and hyphens, such as stroke-registry.",
        )
    _require_address(address)
    make_private_folder(path)
    for part in ("keys", "sites"):
        (path / part).mkdir(mode=0o700)
    identity, authority = IdentityKey.generate(), new_tls_key()
    folder = FederationFolder(
        path, FederationCard(name=name, address=address, identity=identity.public.hex())
    )
    write_key(folder.identity_path, identity, passphrase)
    write_key(folder.authority_key_path, authority, passphrase)
    write_key(folder.tls_key_path, new_tls_key(), passphrase)
    write_durably(folder.authority_path, certificates.authority_certificate(authority, name, now))
    certify_coordinator(folder, passphrase, now)
    # The card makes it a federation's folder, so it comes last.
    write_durably(path / "federation.json", dump(folder.card))
    with folder.audit_log() as log:
        log.record("federation made", "local", detail={"identity": folder.card.identity, "address": address})
    return folder


def certify_coordinator(folder: FederationFolder, passphrase: bytes | None, now: datetime) -> None:
    """A new certificate for the coordinator's TLS key, for the host of its address."""
    key = read_tls_key(folder.tls_key_path, passphrase)
    party = Party(folder.card.name, "coordinator", "coordinator", folder.public)
    host, _ = split_address(folder.card.address)
    pem = certificates.issue(
        read_tls_key(folder.authority_key_path, passphrase),
        folder.authority_path.read_bytes(),
        key.public_key(),
        party,
        now,
        timedelta(days=COORDINATOR_DAYS),
        host,
    )
    write_durably(folder.certificate_path, pem)


def renew(
    folder: FederationFolder, address: str, passphrase: bytes | None, now: datetime
) -> FederationFolder:
    """A new certificate for the coordinator, perhaps at another address; sites learn it by a new bundle."""
    _require_address(address)
    moved = FederationFolder(folder.path, folder.card.model_copy(update={"address": address}))
    certify_coordinator(moved, passphrase, now)
    write_durably(folder.path / "federation.json", dump(moved.card))
    with folder.audit_log() as log:
        log.record("coordinator certified", "local", detail={"address": address})
    return moved


def examine(folder: FederationFolder, request: EnrolmentRequest) -> SiteRecord:
    """What is known of the site that asks, once its request is found to be in order.

    Raises: RefusedError if a signature is false, the name is another key's, the key another name's or
    the coordinator's, or the key was revoked; UsageError if it is malformed.
    """
    with judging("the request"):
        request.check()
    if request.identity == folder.card.identity:
        raise RefusedError("the request's identity key is the coordinator's.")
    for other in folder.sites():
        if request.identity in other.revoked:
            raise RefusedError(
                f"the request's identity key was revoked (as {other.name}).",
                "The site makes new keys with `sealora site init`.",
            )
        if request.identity == other.identity and other.name != request.name:
            raise RefusedError(f"the request's identity key is already enrolled as {other.name}.")
    known = folder.site(request.name)
    if known.identity not in (None, request.identity):
        raise RefusedError(
            f"{request.name} is enrolled with another identity key.",
            f"If the site lost it, run `sealora server revoke {request.name}` first.",
        )
    return known


def enrol(
    folder: FederationFolder,
    request: EnrolmentRequest,
    valid: timedelta,
    passphrase: bytes | None,
    now: datetime,
) -> Bundle:
    """Certify an examined request; the operator has compared its fingerprint. Returns the join bundle."""
    known = examine(folder, request)
    public = request.check()
    party = Party(folder.card.name, "site", request.name, bytes.fromhex(request.identity))
    authority = folder.authority_path.read_bytes()
    key = read_tls_key(folder.authority_key_path, passphrase)
    pem = certificates.issue(key, authority, public, party, now, valid)
    bundle = Bundle(
        federation=folder.card.name,
        address=folder.card.address,
        authority=authority.decode(),
        coordinator=folder.card.identity,
        site=request.name,
        certificate=pem.decode(),
        roster=folder.roster_path.read_text(encoding="utf-8") if folder.roster_path.is_file() else "",
    ).signed(folder.identity(passphrase))
    certificate = verify_certificate(pem, authority, "site", now)
    expires = certificate.expires.isoformat()
    folder.save_site(known.model_copy(update={"identity": request.identity, "expires": expires}))
    facts = {"site": request.name, "identity": request.identity, "serial": f"{certificate.serial:x}"}
    with folder.audit_log() as log:
        log.record("site enrolled", "local", detail={**facts, "expires": expires})
    return bundle


def revoke(folder: FederationFolder, name: str) -> SiteRecord:
    """End a site's access: its identity key opens the link no more, whatever its certificates say.

    Raises UsageError if no site of this name is enrolled.
    """
    record = next((site for site in folder.sites() if site.name == name), None)
    if record is None or record.identity is None:
        names = ", ".join(site.name for site in folder.sites() if site.identity) or "none"
        raise UsageError(f"no site {name[:80]!r} is enrolled.", f"Enrolled: {names}.")
    update = {"identity": None, "expires": "", "revoked": (*record.revoked, record.identity)}
    revoked = record.model_copy(update=update)
    folder.save_site(revoked)
    with folder.audit_log() as log:
        log.record("site revoked", "local", detail={"site": name, "identity": record.identity})
    return revoked


@dataclass(frozen=True)
class Gate:
    """Decides who may open the link. Reads the records anew each time, so a revocation counts at once."""

    folder: FederationFolder

    def admit(self, certificate: bytes, now: datetime) -> str:
        """The name of the site whose certificate (PEM) the TLS library has accepted.

        Raises ProtocolError: "malformed", "expired", "untrusted", "stranger", or "revoked".
        """
        party = verify_certificate(certificate, self.folder.authority_path.read_bytes(), "site", now).party
        if party.federation != self.folder.card.name:
            raise ProtocolError("stranger", "the certificate is of another federation")
        record = self.folder.site(party.name)
        if party.identity.hex() in record.revoked:
            raise ProtocolError("revoked", f"the key of {party.name} was revoked")
        if party.identity.hex() != record.identity:
            raise ProtocolError("stranger", f"{party.name} is not enrolled with this identity key")
        return party.name


def _require_address(address: str) -> None:
    try:
        split_address(address)
    except ProtocolError:
        raise UsageError(
            f"{address[:80]!r} is no address.", "Write HOST:PORT, such as federation.example.org:8443."
        ) from None
