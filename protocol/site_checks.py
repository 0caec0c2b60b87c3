"""What a site checks of each later message before it goes on. One function, one rule of SPEC.md.

All raise ProtocolError with the failure class that their first line names.
"""

from collections.abc import Collection, Mapping, Sequence

from sealora.protocol.admission import Membership
from sealora.protocol.agreement import ADVERT, CONSISTENT, MASKED, Agreement, receipt_fields
from sealora.protocol.attempts import Contribution
from sealora.protocol.errors import ProtocolError
from sealora.protocol.messages import Header
from sealora.protocol.secure_answers import Receipt
from sealora.protocol.secure_requests import Member, Request


def check_phase(request: Request, awaited: type[Request] | None) -> None:
    """ "out_of_order": the request is of the phase that is open; none is once the half has ended."""
    if awaited is None or not isinstance(request, awaited):
        raise ProtocolError("out_of_order", "the message is not of the phase that is open")


def check_name(received: bytes, expected: bytes) -> None:
    """ "stale": the message belongs to this session (before there is one: to this header)."""
    if received != expected:
        raise ProtocolError("stale", "the message belongs to another session")


def check_members(members: Sequence[Member], header: Header) -> None:
    """ "duplicate", "stranger": U1 is a set, sorted by site, and within the cohort."""
    sites = [member.site for member in members]
    if sites != sorted(set(sites)):
        raise ProtocolError("duplicate", "the adverts are not sorted by site, or a site appears twice")
    if not set(sites) <= set(header.cohort):
        raise ProtocolError("stranger", "a site outside the cohort advertises keys")


def check_signatures(members: Sequence[Member], about: bytes, membership: Membership) -> None:
    """ "forged": every member signed its keys for this very header, under its key on the roster."""
    for member in members:
        fields = (about, member.site.encode(), member.share_key, member.mask_key)
        membership.verify(member.site, member.signature, ADVERT, *fields)


def check_keys(members: Sequence[Member]) -> None:
    """ "duplicate": no exchange key appears twice."""
    keys = [key for member in members for key in (member.share_key, member.mask_key)]
    if len(set(keys)) != len(keys):
        raise ProtocolError("duplicate", "two sites advertise one exchange key")


def check_own(members: Sequence[Member], own: Member) -> None:
    """ "substituted": the site's own keys are there as it sent them."""
    if own not in members:
        raise ProtocolError("substituted", "the site's own keys are missing or were replaced")


def check_size(members: Collection[object], least: int) -> None:
    """ "too_few": a set has as many members as it must."""
    if len(members) < least:
        raise ProtocolError("too_few", f"{len(members)} sites are fewer than the {least} needed")


def check_sharers(sharers: Sequence[int], own: int, agreement: Agreement) -> None:
    """ "stranger", "excluded": self ∈ U2 ⊆ U1."""
    if sharers and sharers[-1] >= len(agreement.members):
        raise ProtocolError("stranger", "a site outside U1 is said to have shared")
    if own not in sharers:
        raise ProtocolError("excluded", "the site's own shares are said to be missing")


def check_still_closed(contributions: Collection[Contribution], closed: Collection[Contribution]) -> None:
    """ "unclosed": no other session on this model went on to R2 since those were seen to be closed."""
    if not set(contributions) <= set(closed):
        raise ProtocolError(
            "unclosed", "this site contributed to this model in a session held at the same time"
        )


def check_survivors(survivors: Sequence[int], own: int, sharers: Sequence[int]) -> None:
    """ "resurrected", "excluded": self ∈ U3 ⊆ U2."""
    if not set(survivors) <= set(sharers):
        raise ProtocolError("resurrected", "a site that had dropped out is among the survivors")
    if own not in survivors:
        raise ProtocolError("excluded", "the site's own contribution is said to be missing")


def check_receipts(receipts: Mapping[int, Receipt], sharers: Sequence[int], view: "View") -> None:
    """ "forged": each survivor signed its vector with the U2 of *this* site."""
    for position, receipt in receipts.items():
        fields = receipt_fields(view.agreement.name, sharers, receipt.digest, receipt.head, receipt.ledger)
        view.verify(position, receipt.signature, MASKED, *fields)


def check_signers(signers: Collection[int], survivors: Collection[int]) -> None:
    """ "stranger": whoever confirmed the survivors is one of them."""
    if not set(signers) <= set(survivors):
        raise ProtocolError("stranger", "a site outside U3 is said to have confirmed it")


def check_statements(signatures: Mapping[int, bytes], statement: bytes, view: "View") -> None:
    """ "forged": each signed the statement that *this* site signed."""
    for position, signature in signatures.items():
        view.verify(position, signature, CONSISTENT, statement)


class View:
    """A session together with the roster that names its members' keys."""

    def __init__(self, agreement: Agreement, membership: Membership) -> None:
        self.agreement = agreement
        self._membership = membership

    def public(self, position: int) -> bytes:
        """Identity key of the member at a position of U1."""
        return self._membership.roster.public(self.agreement.sites[position])

    def verify(self, position: int, signature: bytes, label: str, *fields: bytes) -> None:
        """Raises ProtocolError("forged", …) unless the member at a position signed this."""
        self._membership.verify(self.agreement.sites[position], signature, label, *fields)
