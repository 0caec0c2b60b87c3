"""A site's folder: where its keys, certificate, roster, policy and logs are.

site.toml            data, policy and limits, written by the operator
site.json            the site's name and public key
keys/                private keys, mode 0600, made here; they never leave
NAME.request.json    what the coordinator is asked to certify
bundle.json          certificate, authority, and the coordinator's address and key
roster.jsonl         the signed roster; approved.json: which revisions the operator approved
approvals.jsonl      which plans the operator approved
audit.jsonl          what was asked and answered, and every byte that left
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from sealora.plan.key_files import plain_pem, read_identity, read_tls_key
from sealora.plan.received import judging, load_own, load_received
from sealora.privacy.audit_log import AuditLog
from sealora.protocol.certificates import Certificate, Credentials, verify_certificate
from sealora.protocol.enrolment import Bundle, Key, Name, split_address
from sealora.protocol.errors import UsageError
from sealora.protocol.keys import IdentityKey
from sealora.protocol.settings import Settings


class SiteCard(Settings):
    """Who a site is; made once, by `sealora site init`."""

    format: Literal["sealora-site-1"] = "sealora-site-1"
    name: Name
    identity: Key


@dataclass(frozen=True)
class SiteFolder:
    """The files of one site. `open` finds an existing one."""

    path: Path
    name: str
    public: bytes
    """The site's Ed25519 public key."""

    @classmethod
    def open(cls, path: Path) -> "SiteFolder":
        """Raises UsageError if there is no site in the folder."""
        card_path = path / "site.json"
        if not card_path.is_file():
            raise UsageError(f"{path} is not the folder of a site.", "Make one with `sealora site init`.")
        card = load_own(SiteCard, card_path)
        return cls(path, card.name, bytes.fromhex(card.identity))

    @property
    def settings_path(self) -> Path:
        """What the operator writes."""
        return self.path / "site.toml"

    @property
    def keys(self) -> Path:
        """The folder of private keys."""
        return self.path / "keys"

    @property
    def identity_path(self) -> Path:
        """The Ed25519 identity."""
        return self.keys / "identity.pem"

    @property
    def request_path(self) -> Path:
        """The last enrolment request."""
        return self.path / f"{self.name}.request.json"

    @property
    def bundle_path(self) -> Path:
        """The bundle that was joined."""
        return self.path / "bundle.json"

    @property
    def roster_path(self) -> Path:
        """The longest roster that was received and verified."""
        return self.path / "roster.jsonl"

    @property
    def approved_path(self) -> Path:
        """Which revisions of it the operator approved."""
        return self.path / "approved.json"

    @property
    def approvals_path(self) -> Path:
        """Plans that the operator approved."""
        return self.path / "approvals.jsonl"

    @property
    def audit_path(self) -> Path:
        """The site's own log."""
        return self.path / "audit.jsonl"

    @property
    def ledgers(self) -> Path:
        """Privacy ledgers, one for each data set."""
        return self.path / "ledgers"

    def tls_key_path(self, public: bytes) -> Path:
        """The TLS key of that public key (DER): a renewed key does not overwrite the one in use."""
        return self.keys / f"tls-{hashlib.sha256(public).hexdigest()[:16]}.pem"

    def audit_log(self) -> AuditLog:
        """The log, open for appending."""
        return AuditLog(self.audit_path, self.name)

    def bundle(self) -> Bundle:
        """What the site joined with. Raises UsageError if it has not joined."""
        if not self.bundle_path.is_file():
            raise UsageError(f"{self.name} has not joined a federation.", "Run `sealora site join BUNDLE`.")
        return load_received(Bundle, self.bundle_path)

    def certificate(self, now: datetime) -> Certificate:
        """The site's certificate. Raises RefusedError if it has expired."""
        bundle = self.bundle()
        with judging(self.bundle_path):
            return verify_certificate(bundle.certificate.encode(), bundle.authority.encode(), "site", now)

    def identity(self, passphrase: bytes | None) -> IdentityKey:
        """The site's signing key. Raises UsageError: see `read_identity`, and if it is not the site's."""
        identity = read_identity(self.identity_path, passphrase)
        if identity.public != self.public:
            raise UsageError(
                f"{self.identity_path} is not the key of {self.name}.", "Restore it from a backup."
            )
        return identity

    def credentials(self, passphrase: bytes | None, now: datetime) -> Credentials:
        """What opens the link. Raises UsageError or RefusedError: not joined, expired, no key."""
        bundle, certificate = self.bundle(), self.certificate(now)
        key = read_tls_key(self.tls_key_path(certificate.tls_key), passphrase)
        return Credentials(bundle.authority.encode(), bundle.certificate.encode(), plain_pem(key))

    def address(self) -> tuple[str, int]:
        """(host, port) of the coordinator."""
        with judging(self.bundle_path):
            return split_address(self.bundle().address)
