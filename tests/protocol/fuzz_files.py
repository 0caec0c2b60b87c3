"""Parsers of what travels beside the messages: the link's frames, rosters, drafts and files of enrolment."""

import hashlib
from datetime import UTC, datetime, timedelta
from functools import partial

from fuzz_targets import VICTIM, Target, identity

from sealora.protocol import frames, link_pb2
from sealora.protocol.certificates import (
    Party,
    authority_certificate,
    check_authority,
    issue,
    new_tls_key,
    requested_key,
    verify_certificate,
)
from sealora.protocol.draft import Draft
from sealora.protocol.enrolment import Approval, Bundle, EnrolmentRequest, dump, load
from sealora.protocol.frames import Credit, Hello, Part, Welcome
from sealora.protocol.roster import Roster, genesis

FRAMES = (
    Part(bytes(16), 3, 0, b"abc", hashlib.sha256(b"abc").digest()),
    Hello(VICTIM, bytes(16)),
    Welcome(1, bytes(32)),
    Credit(bytes(16), 5, 9),
)
NAMES = b'"\\ud800"', b'"a\\n\\u001b[2K"', b'""'
"""In JSON, what no site is called: half a character, a line that clears the one before, nothing."""


def file_targets(roster: Roster) -> list[Target]:
    """Each with valid bytes, and rosters with names that are none."""
    serial = roster.serialise()
    draft = roster.revisions[-1].next({**roster.members, "new": bytes(32)}).serialise()
    hostile = [draft.replace(b'"new"', name) for name in NAMES]
    return [
        Target("roster", Roster.parse, (serial, *hostile)),
        Target("draft", Draft.parse, (serial + draft, *(serial + line for line in hostile))),
        Target("frame", frames.parse, tuple(frame.serialise() for frame in FRAMES), link_pb2.Frame),
        *enrolment_targets(),
    ]


def enrolment_targets() -> list[Target]:
    """What sites and coordinator send one another as files before a link exists."""
    now, authority_key, tls_key = datetime.now(UTC), new_tls_key(), new_tls_key()
    authority = authority_certificate(authority_key, "stroke", now)
    coordinator, site = identity("coordinator"), identity(VICTIM)
    party = Party("stroke", "site", VICTIM, site.public)
    certificate = issue(authority_key, authority, tls_key.public_key(), party, now, timedelta(days=1))
    revision = genesis({VICTIM: site.public}, coordinator.public, 0)
    bundle = Bundle(
        federation="stroke",
        address="federation.example.org:8443",
        authority=authority.decode(),
        coordinator=coordinator.public.hex(),
        site=VICTIM,
        certificate=certificate.decode(),
        roster=revision.signed(VICTIM, site).serialise().decode(),
    ).signed(coordinator)
    request, approval = EnrolmentRequest.make(VICTIM, site, tls_key), Approval.make(VICTIM, site, revision)
    return [
        Target("bundle", partial(read_bundle, now), (dump(bundle),)),
        Target("enrolment request", read_enrolment, (dump(request),)),
        Target("approval", partial(load, Approval), (dump(approval),)),
    ]


def read_bundle(now: datetime, raw: bytes) -> None:
    """Everything that a site reads in a bundle, its signature last: whoever signs it may be the liar."""
    bundle = load(Bundle, raw)
    check_authority(bundle.authority.encode())
    verify_certificate(bundle.certificate.encode(), bundle.authority.encode(), "site", now)
    Roster.parse(bundle.roster.encode())
    bundle.check()


def read_enrolment(raw: bytes) -> None:
    """Everything that a coordinator reads in a request, its signature last."""
    request = load(EnrolmentRequest, raw)
    requested_key(request.tls_request.encode())
    request.check()
