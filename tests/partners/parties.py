"""The files of a small federation on loopback: certificates, identity keys, and a roster all have signed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sealora.protocol.certificates import (
    Credentials,
    Party,
    authority_certificate,
    issue,
    new_tls_key,
    verify_certificate,
)
from sealora.protocol.errors import ProtocolError
from sealora.protocol.keys import IdentityKey
from sealora.protocol.roster import Roster, genesis

FEDERATION = "test"
HOST = "127.0.0.1"
COORDINATOR = "coordinator"
DAYS = timedelta(days=7)


class Parties:
    """Writes and reads them. Every test has an authority of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def make(cls, folder: Path, sites: list[str], colluders: int) -> "Parties":
        """A federation whose sites have all signed its roster."""
        folder.mkdir()
        parties = cls(folder)
        parties._key, now = new_tls_key(), datetime.now(UTC)
        (folder / "authority.pem").write_bytes(authority_certificate(parties._key, FEDERATION, now))
        keys = {name: IdentityKey.generate() for name in (*sites, COORDINATOR)}
        for name, key in keys.items():
            (folder / f"{name}.identity").write_bytes(key.secret)
            parties.certify(name, key.public)
        members = {site: keys[site].public for site in sites}
        revision = genesis(members, keys[COORDINATOR].public, colluders)
        for site in sites:
            revision = revision.signed(site, keys[site])
        (folder / "roster.jsonl").write_bytes(Roster((revision,)).serialise())
        return parties

    def certify(self, name: str, public: bytes, valid: timedelta = DAYS, file: str = "") -> None:
        """Write a TLS key and a certificate for it."""
        key, now = new_tls_key(), datetime.now(UTC)
        coordinator = name == COORDINATOR
        party = Party(FEDERATION, "coordinator" if coordinator else "site", name, public)
        authority = (self.folder / "authority.pem").read_bytes()
        pem = issue(self._key, authority, key.public_key(), party, now, valid, HOST if coordinator else "")
        (self.folder / f"{file or name}.pem").write_bytes(pem)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self.folder / f"{file or name}.key").write_bytes(private)

    @property
    def roster(self) -> Roster:
        return Roster.parse((self.folder / "roster.jsonl").read_bytes())

    def identity(self, name: str) -> IdentityKey:
        return IdentityKey.from_bytes((self.folder / f"{name}.identity").read_bytes())

    def credentials(self, name: str) -> Credentials:
        return Credentials(
            (self.folder / "authority.pem").read_bytes(),
            (self.folder / f"{name}.pem").read_bytes(),
            (self.folder / f"{name}.key").read_bytes(),
        )

    def admit(self, certificate: bytes) -> str:
        """The name of the site whose certificate it is, if its identity is on the roster."""
        authority = (self.folder / "authority.pem").read_bytes()
        party = verify_certificate(certificate, authority, "site", datetime.now(UTC)).party
        if party.identity != self.roster.public(party.name):
            raise ProtocolError("stranger", f"{party.name} is on the roster with another key")
        return party.name
