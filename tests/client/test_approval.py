"""Approvals last, can be taken back, and show later changes."""

from datetime import UTC, datetime

import pytest

from sealora.client.approval import approved, read, record
from sealora.privacy.audit_log import read_records
from sealora.protocol.errors import DataError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLAN, OTHER = "a1" * 32, "b2" * 32


def write(site, action, plan=PLAN, by="kim"):
    record(site, action, plan, "starter", by, NOON)


def test_who_approved_what_and_when(partners):
    site = partners.site("ams")
    assert approved(site) == {}
    write(site, "approve")
    (line,) = read(site)
    assert (line.action, line.plan, line.name, line.by) == ("approve", PLAN, "starter", "kim")
    assert line.time == "2026-03-01T12:00:00+00:00"
    (logged,) = [line for line in read_records(site.audit_path) if line.kind == "plan approve"]
    assert logged.detail == {"plan": PLAN, "by": "kim"}


def test_the_last_word_counts(partners):
    site = partners.site("ams")
    for action, plans in [("approve", {PLAN: 1}), ("withdraw", {}), ("approve", {PLAN: 2})]:
        write(site, action)
        assert approved(site) == plans
    write(site, "approve", OTHER)
    write(site, "withdraw")
    assert approved(site) == {OTHER: 1}


def test_a_changed_file_approves_nothing(partners):
    site = partners.site("ams")
    write(site, "approve")
    raw = site.approvals_path.read_bytes()
    site.approvals_path.write_bytes(raw.replace(PLAN.encode(), OTHER.encode()))
    with pytest.raises(DataError, match="damaged at line 2"):
        approved(site)


def test_another_sites_approvals_are_none_here(partners):
    site, other = partners.site("ams"), partners.site("ber")
    write(other, "approve")
    site.approvals_path.write_bytes(other.approvals_path.read_bytes())
    with pytest.raises(DataError, match="no approvals of ams"):
        approved(site)


def test_a_withdrawal_cannot_be_cut_off_by_a_crash(partners):
    """A torn last line is one that was never promised; what was written whole stays."""
    site = partners.site("ams")
    write(site, "approve")
    write(site, "withdraw")
    raw = site.approvals_path.read_bytes()
    site.approvals_path.write_bytes(raw + b'{"entry":{"action":"app')
    assert approved(site) == {}
    write(site, "approve", OTHER)
    assert approved(site) == {OTHER: 1}
