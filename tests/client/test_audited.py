"""Every message is on the log before it has an effect: its kind, size and hash, never its contents."""

import hashlib

import pytest

from sealora.client.audited import Audited
from sealora.privacy.audit_log import AuditLog, read_records, traffic
from sealora.protocol import messages
from sealora.protocol.errors import RunError
from sealora.protocol.messages import Header, Open, Reason, Refusal, Work
from sealora.simulation.toy import toy_federation, toy_plan


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


@pytest.fixture
def log(path):
    with AuditLog(path, "site-1") as log:
        yield log


def run(tmp_path, log, secure):
    """A toy run of one round in which site-1 keeps a log; returns what went through its handler."""
    from sealora.plan.settings import RoundsSettings
    from sealora.protocol.settings import SecureAggregationSettings

    masks = SecureAggregationSettings(enabled=secure, colluders=0)
    plan = toy_plan(secure_aggregation=masks, rounds=RoundsSettings(count=1))
    toy = toy_federation(tmp_path / "toy", sites=4, plan=plan)
    site, passed = toy.sites["site-1"], []
    inner = site.handle
    audited = Audited(inner, log)

    def handle(request):
        reply = audited(request)
        passed.append((request, reply))
        return reply

    site.handle = handle
    toy.coordinator().run()
    return passed


ROUND = ["open", "advert", "adverts", "shares", "deliveries", "masked", "survivors", "consistency"]


@pytest.mark.parametrize(
    ("secure", "kinds"), [(True, [*ROUND, "signers", "release"]), (False, ["open", "contribution"])]
)
def test_a_whole_run_is_on_the_log(tmp_path, path, log, secure, kinds):
    passed = run(tmp_path, log, secure)
    records = read_records(path)
    # One round, and the final evaluation.
    assert [record.kind for record in records] == kinds * 2
    for (request, reply), asked, answered in zip(passed, records[::2], records[1::2], strict=True):
        assert (asked.direction, answered.direction) == ("in", "out")
        assert (asked.size, answered.size) == (len(request), len(reply))
        assert asked.hash == hashlib.sha256(request).hexdigest()
        assert answered.hash == hashlib.sha256(reply).hexdigest()
    opened = records[0].detail
    assert (opened["round"], opened["attempt"], opened["work"], opened["cohort"]) == (1, 1, "train", 4)
    assert opened["secure"] == secure
    total = sum(part.size for part in traffic(records, "out").values())
    assert total == sum(len(reply) for _, reply in passed)


def test_the_log_holds_no_contents(path, log):
    model, update = b"the model's own bytes", b"what this site has learnt"
    header = Header(bytes(32), bytes(16), 1, 1, Work.TRAIN, bytes(32), ("a",), 1, 1, 1).serialise()
    request = messages.request(Open(header, model, ("secret.tensor",), bytes(64)))
    Audited(lambda request: messages.reply(update), log)(request)
    assert [record.kind for record in read_records(path)] == ["open", "contribution"]
    raw = path.read_bytes()
    for secret in (model, update, b"secret.tensor"):
        assert secret not in raw
        assert secret.hex().encode() not in raw


def test_a_refusal_names_the_policy_line(path, log):
    refusal = messages.reply(Refusal(Reason.POLICY, "policy line limits.hours: not at this time of the day"))
    assert Audited(lambda request: refusal, log)(messages.request(b"\x0a\x00")) == refusal
    asked, answered = read_records(path)
    assert asked.kind == "adverts"
    assert (answered.kind, answered.detail["reason"]) == ("refusal", "policy")
    assert "limits.hours" in answered.detail["text"]


@pytest.mark.parametrize(
    "request_bytes", [b"", b"\xff", bytes(50), messages.request(b""), messages.request(b"\xff")]
)
def test_what_is_no_message_is_logged_too(path, log, request_bytes):
    refusal = messages.reply(Refusal(Reason.PROTOCOL, "no"))
    Audited(lambda request: refusal, log)(request_bytes)
    assert read_records(path)[0].kind in ("malformed", "unknown")


def test_the_request_is_logged_before_the_work_and_the_reply_before_it_leaves(path, log):
    seen = []

    def handle(request):
        seen.append([record.kind for record in read_records(path)])
        return messages.reply(b"\x1a\x00")

    Audited(handle, log)(messages.request(b"\x12\x00"))
    assert seen == [["deliveries"]]
    assert [record.kind for record in read_records(path)] == ["deliveries", "masked"]


def test_nothing_leaves_without_a_record(log):
    worked = []

    def handle(request):
        log.close()
        worked.append(request)
        return messages.reply(b"secret")

    audited = Audited(handle, log)
    with pytest.raises(RunError, match="closed"):
        audited(messages.request(b"x"))
    assert len(worked) == 1
    with pytest.raises(RunError, match="closed"):
        audited(messages.request(b"x"))
    assert len(worked) == 1, "and nothing is begun without one"
