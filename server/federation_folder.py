"""A federation's folder at its coordinator.

federation.json      name, address and the coordinator's public key
authority.pem        the root certificate; certificate.pem: the coordinator's own
keys/                private keys, mode 0600: authority, TLS, identity
sites/NAME.json      who was enrolled, and which keys were revoked
roster.jsonl         the roster in force; draft.jsonl: the revision that is being signed
audit.jsonl          what was done here
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from sealora.plan.durable import write_durably
from sealora.plan.key_files import plain_pem, read_identity, read_tls_key
from sealora.plan.received import judging, load_own
from sealora.privacy.audit_log import AuditLog
from sealora.protocol.certificates import Certificate, Credentials, verify_certificate
from sealora.protocol.enrolment import Key, Name, dump, federation_words, split_address
from sealora.protocol.errors import UsageError
from sealora.protocol.keys import IdentityKey
from sealora.protocol.settings import Settings

Stamp = tuple[str, int, int, int]
"""Name, inode, time of change and size of a file: another once it was replaced."""


class FederationCard(Settings):
    """What a federation is called, where its coordinator listens, and who that is."""

    format: Literal["sealora-federation-1"] = "sealora-federation-1"
    name: Name
    address: str
    identity: Key


class SiteRecord(Settings):
    """One enrolled site. A key that was revoked never comes back; the name may, with a new key."""

    format: Literal["sealora-enrolled-1"] = "sealora-enrolled-1"
    name: Name
    identity: Key | None = None
    """None once it is revoked."""
    expires: str = ""
    """End of the last certificate, ISO 8601."""
    revoked: tuple[Key, ...] = ()


@dataclass(frozen=True)
class FederationFolder:
    """The files of one federation. `open` finds an existing one."""

    path: Path
    card: FederationCard

    @classmethod
    def open(cls, path: Path) -> "FederationFolder":
        """Raises UsageError if there is no federation in the folder."""
        card = path / "federation.json"
        if not card.is_file():
            raise UsageError(
                f"{path} is not the folder of a federation.", "Make one with `sealora server init`."
            )
        return cls(path, load_own(FederationCard, card))

    @property
    def public(self) -> bytes:
        """The coordinator's Ed25519 public key."""
        return bytes.fromhex(self.card.identity)

    @property
    def keys(self) -> Path:
        """The folder of private keys."""
        return self.path / "keys"

    @property
    def authority_key_path(self) -> Path:
        """The key that signs certificates; the only one that may be kept elsewhere meanwhile."""
        return self.keys / "authority.pem"

    @property
    def tls_key_path(self) -> Path:
        """The TLS key of the coordinator."""
        return self.keys / "tls.pem"

    @property
    def identity_path(self) -> Path:
        """The Ed25519 identity, which signs headers."""
        return self.keys / "identity.pem"

    @property
    def authority_path(self) -> Path:
        """The root certificate."""
        return self.path / "authority.pem"

    @property
    def certificate_path(self) -> Path:
        """The coordinator's certificate."""
        return self.path / "certificate.pem"

    @property
    def roster_path(self) -> Path:
        """The roster in force, which sites may be sent as it is."""
        return self.path / "roster.jsonl"

    @property
    def draft_path(self) -> Path:
        """The revision that is being signed, after the roster in force."""
        return self.path / "draft.jsonl"

    @property
    def words(self) -> str:
        """The federation's fingerprint."""
        authority = self.authority_path.read_text(encoding="ascii")
        return federation_words(self.card.name, authority, self.public)

    def audit_log(self) -> AuditLog:
        """The log, open for appending."""
        return AuditLog(self.audit_path, f"coordinator of {self.card.name}")

    @property
    def audit_path(self) -> Path:
        """The coordinator's own log."""
        return self.path / "audit.jsonl"

    def sites(self) -> Iterator[SiteRecord]:
        """Everybody who was ever enrolled, by name."""
        for path in self._records():
            yield load_own(SiteRecord, path)

    def stamps(self) -> list[Stamp]:
        """Of all records of sites, in their order."""
        return [stamp_of(path) for path in self._records()]

    def site(self, name: str) -> SiteRecord:
        """One site's record, empty if it was never enrolled. `name` is a checked name."""
        path = self._site_path(name)
        return load_own(SiteRecord, path) if path.is_file() else SiteRecord(name=name)

    def save_site(self, record: SiteRecord) -> None:
        """Write one site's record durably."""
        write_durably(self._site_path(record.name), dump(record))

    def identity(self, passphrase: bytes | None) -> IdentityKey:
        """The coordinator's signing key. Raises UsageError as `read_identity` does."""
        return read_identity(self.identity_path, passphrase)

    def certificate(self, now: datetime) -> Certificate:
        """The coordinator's own certificate. Raises RefusedError if it has expired."""
        host, _ = split_address(self.card.address)
        with judging(self.certificate_path):
            return verify_certificate(
                self.certificate_path.read_bytes(), self.authority_path.read_bytes(), "coordinator", now, host
            )

    def credentials(self, passphrase: bytes | None, now: datetime) -> Credentials:
        """What opens the listening end of the link. Raises UsageError, RefusedError."""
        self.certificate(now)
        key = read_tls_key(self.tls_key_path, passphrase)
        return Credentials(
            self.authority_path.read_bytes(), self.certificate_path.read_bytes(), plain_pem(key)
        )

    def _records(self) -> list[Path]:
        return sorted((self.path / "sites").glob("*.json"))

    def _site_path(self, name: str) -> Path:
        return self.path / "sites" / f"{name}.json"


def stamp_of(path: Path) -> Stamp:
    """The stamp of a file that is there."""
    found = path.stat()
    return path.name, found.st_ino, found.st_mtime_ns, found.st_size
