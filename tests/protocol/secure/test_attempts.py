"""What a site remembers survives the process, and each rule refuses what it is there to refuse."""

import pytest

from sealora.protocol.attempts import CLOSED, AttemptLog, Closure, Contribution, require_closed
from sealora.protocol.errors import ProtocolError
from sealora.protocol.keys import IdentityKey
from sealora.protocol.messages import Work

SESSION, OTHER = b"s" * 32, b"o" * 32
KEYS = [IdentityKey.from_bytes(bytes([number]) * 32) for number in range(4)]
PUBLICS = frozenset(key.public for key in KEYS)


class Twice:
    """A log, and the same one read back from its records before every question."""

    def __init__(self):
        self.records = []

    @property
    def log(self):
        return AttemptLog(self.records, append=self.records.append)


@pytest.fixture
def disk():
    return Twice()


@pytest.fixture
def header(make_cohort):
    return make_cohort(3).header


def refused(failure, call, *arguments):
    with pytest.raises(ProtocolError) as error:
        call(*arguments)
    assert error.value.failure == failure


@pytest.mark.parametrize(
    ("round_", "attempt", "allowed"), [(1, 1, False), (1, 2, True), (2, 1, True), (0, 9, False)]
)
def test_attempts_strictly_increase(disk, header, round_, attempt, allowed):
    disk.log.begin(header(round=1, attempt=1))
    later = header(round=round_, attempt=attempt)
    if allowed:
        disk.log.begin(later)
    else:
        refused("replayed", disk.log.begin, later)


def test_runs_and_kinds_of_work_count_apart(disk, header):
    disk.log.begin(header(round=5))
    disk.log.begin(header(round=1, work=Work.EVALUATE))
    disk.log.begin(header(round=1, run=b"r" * 16))
    refused("replayed", disk.log.begin, header(round=5))


def test_contributions_are_found_by_work_and_model(disk, header):
    contribution = Contribution(SESSION, PUBLICS, 3)
    disk.log.contribute(header(), contribution)
    assert disk.log.contributions(header(run=b"r" * 16, round=7)) == (contribution,)
    assert disk.log.contributions(header(work=Work.EVALUATE)) == ()
    assert disk.log.contributions(header(model_hash=bytes(32))) == ()


def test_one_statement_for_a_session(disk, header):
    disk.log.state(header(), SESSION, b"1" * 32)
    disk.log.state(header(), SESSION, b"1" * 32)
    disk.log.state(header(round=2), OTHER, b"2" * 32)
    refused("equivocation", disk.log.state, header(), SESSION, b"2" * 32)


def test_the_transcript_is_that_of_the_completed_attempt(disk, header):
    disk.log.state(header(round=3, attempt=2), SESSION, b"1" * 32)
    assert disk.log.transcript(header(round=4, completed=(3, 2))) == b"1" * 32
    assert disk.log.transcript(header(round=4, completed=(3, 1))) is None
    assert disk.log.transcript(header(round=4, completed=(3, 2), run=b"r" * 16)) is None


def test_a_session_is_released_once_or_closed(disk):
    disk.log.release(SESSION)
    refused("released", disk.log.release, SESSION)
    assert not disk.log.close(SESSION)
    assert disk.log.close(OTHER)
    assert disk.log.close(OTHER)
    refused("closed", disk.log.release, OTHER)


def test_peers_must_have_gone_on(disk):
    first, second = sorted(PUBLICS)[:2]
    disk.log.observe({first: 3, second: 9})
    disk.log.observe({first: 4})
    refused("restored", disk.log.observe, {first: 5, second: 9})
    disk.log.observe({first: 5, second: 10})


def test_what_is_refused_is_not_written(disk, header):
    disk.log.begin(header())
    before = list(disk.records)
    refused("replayed", disk.log.begin, header())
    assert disk.records == before


def test_nothing_is_believed_before_it_is_on_disk(header):
    records, full = [], False

    def append(record):
        if full:
            raise OSError("disk full")
        records.append(record)

    log = AttemptLog(append=append)
    log.begin(header(round=1))
    head, full = log.head, True
    for call, *arguments in (
        (log.begin, header(round=2)),
        (log.contribute, header(), Contribution(SESSION, PUBLICS, 3)),
        (log.state, header(), SESSION, b"1" * 32),
        (log.release, SESSION),
        (log.close, OTHER),
        (log.observe, dict.fromkeys(PUBLICS, 5)),
    ):
        with pytest.raises(OSError, match="disk full"):
            call(*arguments)
    full = False
    assert log.head == head
    assert log.contributions(header()) == ()
    assert log.close(SESSION), "no share has left"
    log.release(OTHER)
    log.begin(header(round=2))
    log.state(header(), SESSION, b"2" * 32)
    log.observe(dict.fromkeys(PUBLICS, 5))
    assert len(records) == log.head.count == 6


def test_the_head_chains_the_records(disk, header):
    heads = [disk.log.head]
    for number in range(1, 4):
        disk.log.begin(header(round=number))
        heads.append(disk.log.head)
    assert [head.count for head in heads] == [0, 1, 2, 3]
    assert len({head.digest for head in heads}) == 4
    assert AttemptLog(disk.records).head == heads[-1]
    assert AttemptLog(disk.records[::-1]).head.digest != heads[-1].digest


def closures(keys, session=SESSION):
    return [Closure(session, key.public, key.sign(CLOSED, session)) for key in keys]


@pytest.mark.parametrize(
    ("offered", "enough"),
    [
        (closures(KEYS[:3]), True),
        (closures(KEYS[:2]), False),
        (closures(KEYS[:2]) * 2, False),
        (closures(KEYS[:2]) + closures(KEYS[2:], OTHER), False),
        (closures([*KEYS[:2], IdentityKey.from_bytes(b"x" * 32)]), False),
    ],
)
def test_t_members_close_a_session(offered, enough):
    contributions = [Contribution(SESSION, PUBLICS, 3)]
    if enough:
        require_closed(contributions, offered)
    else:
        refused("unclosed", require_closed, contributions, offered)


def test_every_session_must_be_closed():
    contributions = [Contribution(SESSION, PUBLICS, 3), Contribution(OTHER, PUBLICS, 3)]
    refused("unclosed", require_closed, contributions, closures(KEYS))
    require_closed(contributions, closures(KEYS) + closures(KEYS, OTHER))


def test_a_false_signature_is_noticed():
    false = [Closure(SESSION, KEYS[0].public, KEYS[1].sign(CLOSED, SESSION))]
    refused("forged", require_closed, [Contribution(SESSION, PUBLICS, 1)], false)
