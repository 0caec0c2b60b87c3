"""The roster: which identity key belongs to which site, as an append-only list of signed revisions.

Each revision restates all members and names the hash of the one before. The first is in force when
every member signed it, their operators having compared the fingerprints of all keys outside the
system; a later one when a quorum ⌊(m + c)/2⌋ + 1 of the m members before it did. A site pins the
hash that its operator approved and refuses any list that does not contain it. The coordinator
relays the roster and is never a source of keys: that stops key substitution and sybils.

The bytes are lines of JSON, one revision a line.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

from sealora.protocol.certificates import NAME
from sealora.protocol.errors import ProtocolError
from sealora.protocol.keys import KEY_BYTES, SIGNATURE_BYTES, IdentityKey, pack, verify
from sealora.protocol.messages import HASH_BYTES, MAX_COHORT, MAX_NAME_BYTES
from sealora.protocol.thresholds import threshold
from sealora.protocol.words import KEY_WORDS, ROSTER_WORDS, spoken

REVISION = "sealora/v1/roster"
GENESIS = bytes(HASH_BYTES)
"""What the first revision names as the one before."""
MAX_ROSTER_BYTES = 1 << 28


@dataclass(frozen=True)
class Revision:
    """One state of the roster.

    `members` maps each site's name to its Ed25519 public key; `coordinator` is the key that signs
    headers; `colluders` is the c of the quorum that the next revision needs; `signatures` holds the
    approvals by site and is not part of the hash.
    """

    serial: int
    previous: bytes
    colluders: int
    coordinator: bytes
    members: Mapping[str, bytes]
    signatures: Mapping[str, bytes] = field(default_factory=dict)

    @cached_property
    def hash(self) -> bytes:
        """SHA-256 that names the revision, and with it all before."""
        numbers = (self.serial.to_bytes(8, "big"), self.previous, self.colluders.to_bytes(8, "big"))
        members = [part for site in sorted(self.members) for part in (site.encode(), self.members[site])]
        return hashlib.sha256(pack(REVISION, *numbers, self.coordinator, *members)).digest()

    @property
    def words(self) -> str:
        """The hash as words, for operators to compare by voice."""
        return spoken(self.hash, ROSTER_WORDS)

    def signed(self, site: str, identity: IdentityKey) -> "Revision":
        """The same revision with one more approval."""
        return replace(self, signatures={**self.signatures, site: identity.sign(REVISION, self.hash)})

    def next(self, members: Mapping[str, bytes]) -> "Revision":
        """The revision after this one, with other members, unsigned."""
        return replace(self, serial=self.serial + 1, previous=self.hash, members=dict(members), signatures={})

    def serialise(self) -> bytes:
        """One line of JSON."""
        record = {
            "serial": self.serial,
            "previous": self.previous.hex(),
            "colluders": self.colluders,
            "coordinator": self.coordinator.hex(),
            "members": {site: key.hex() for site, key in sorted(self.members.items())},
            "signatures": {site: signature.hex() for site, signature in sorted(self.signatures.items())},
        }
        return json.dumps(record, separators=(",", ":")).encode() + b"\n"

    @staticmethod
    def parse(line: bytes) -> "Revision":
        """What `serialise` wrote, its signatures unchecked. Raises ProtocolError("malformed").

        Names are those of certificates and no others: a person compares the fingerprints beside them, and
        a name with a line break or an escape sequence could forge the lines of another site.
        """
        try:
            record = json.loads(line)
            return Revision(
                serial=_natural(record["serial"]),
                previous=_hex(record["previous"], HASH_BYTES),
                colluders=_natural(record["colluders"]),
                coordinator=_hex(record["coordinator"], KEY_BYTES),
                members={_name(site): _hex(key, KEY_BYTES) for site, key in record["members"].items()},
                signatures={
                    _name(site): _hex(mark, SIGNATURE_BYTES) for site, mark in record["signatures"].items()
                },
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ProtocolError("malformed", "a line of the roster is not a revision") from None


@dataclass(frozen=True)
class Roster:
    """A verified list of revisions; the last one is in force.

    Raises: ProtocolError on construction: "forged" (a signature), "no_quorum" (too few of them),
    "broken_chain" (serial or hash), "duplicate" (one key for two sites), "malformed".
    """

    revisions: tuple[Revision, ...]

    def __post_init__(self) -> None:
        if not self.revisions:
            raise ProtocolError("malformed", "the roster is empty")
        genesis = self.revisions[0]
        for revision in self.revisions:
            check_members(revision)
        if (genesis.serial, genesis.previous) != (0, GENESIS):
            raise ProtocolError("broken_chain", "the roster does not begin with its first revision")
        _check_approvals(genesis, genesis.members, len(genesis.members))
        for before, after in pairwise(self.revisions):
            _check_successor(before, after)

    @property
    def hash(self) -> bytes:
        """The hash of the revision in force, which headers name and sites pin."""
        return self.revisions[-1].hash

    @property
    def members(self) -> Mapping[str, bytes]:
        """Identity keys by site."""
        return self.revisions[-1].members

    @property
    def coordinator(self) -> bytes:
        """The key that signs headers."""
        return self.revisions[-1].coordinator

    def public(self, site: str) -> bytes:
        """A site's identity key. Raises ProtocolError("stranger") for a site that is not on the roster."""
        if site not in self.members:
            raise ProtocolError("stranger", f"{site} is not on the roster")
        return self.members[site]

    def since(self, pin: bytes) -> tuple[Revision, ...]:
        """The revisions after the pinned one, which the operator is to approve.

        Raises: ProtocolError("rolled_back") if the list does not contain the pinned revision.
        """
        hashes = [revision.hash for revision in self.revisions]
        if pin not in hashes:
            raise ProtocolError("rolled_back", "the roster does not continue the one that was approved here")
        return self.revisions[hashes.index(pin) + 1 :]

    def serialise(self) -> bytes:
        """Lines of JSON, oldest revision first."""
        return b"".join(revision.serialise() for revision in self.revisions)

    @staticmethod
    def parse(raw: bytes) -> "Roster":
        """Raises ProtocolError unless the bytes are a roster whose every revision is in force."""
        if len(raw) > MAX_ROSTER_BYTES:
            raise ProtocolError("malformed", "the roster is too long")
        return Roster(tuple(Revision.parse(line) for line in raw.splitlines()))


def genesis(members: Mapping[str, bytes], coordinator: bytes, colluders: int) -> Revision:
    """The first revision, unsigned."""
    return Revision(0, GENESIS, colluders, coordinator, dict(members))


def quorum(revision: Revision) -> int:
    """Members of a revision whose signatures put the next one in force: ⌊(m + c)/2⌋ + 1."""
    return threshold(len(revision.members), revision.colluders)


def check_members(revision: Revision) -> None:
    """Raises ProtocolError("duplicate", "malformed") for members that no roster can have."""
    keys = [*revision.members.values(), revision.coordinator]
    if len(set(keys)) != len(keys):
        raise ProtocolError("duplicate", "two parties of the roster share an identity key")
    if not 1 <= len(revision.members) <= MAX_COHORT or revision.colluders >= len(revision.members):
        raise ProtocolError("malformed", "the roster has too few or too many members")
    if not all(0 < len(site.encode()) <= MAX_NAME_BYTES for site in revision.members):
        raise ProtocolError("malformed", "a site's name is empty or too long")


def fingerprint(public: bytes) -> str:
    """A key's SHA-256 as words, for operators to compare by voice."""
    return spoken(hashlib.sha256(pack("sealora/v1/fingerprint", public)).digest(), KEY_WORDS)


def _check_successor(before: Revision, after: Revision) -> None:
    if after.serial != before.serial + 1 or after.previous != before.hash:
        raise ProtocolError("broken_chain", f"revision {after.serial} does not follow the one before it")
    _check_approvals(after, before.members, quorum(before))


def _check_approvals(revision: Revision, electorate: Mapping[str, bytes], needed: int) -> None:
    signers = set(revision.signatures) & set(electorate)
    for site in signers:
        verify(electorate[site], revision.signatures[site], REVISION, revision.hash)
    if len(signers) < needed:
        raise ProtocolError(
            "no_quorum", f"revision {revision.serial} has {len(signers)} of {needed} signatures that it needs"
        )


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError
    return text


def _hex(text: str, length: int) -> bytes:
    value = bytes.fromhex(text)
    if len(value) != length:
        raise ValueError
    return value


def _natural(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < 2**32:
        raise ValueError
    return value
