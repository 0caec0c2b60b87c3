"""Who gets in: sites with a certificate of this authority, under their own name, one process each."""

import shutil
import ssl
from datetime import UTC, datetime

import grpc
import psutil
import pytest
from flood import flood
from parties import Parties
from processes import HERE, Federation
from rogue import handshake, hello, say

from sealora.client import enrolment
from sealora.protocol.certificates import Credentials
from sealora.protocol.frames import Credit, Welcome
from sealora.server import authority
from sealora.simulation.faults import Fault

pytestmark = pytest.mark.slow
Code = grpc.StatusCode


@pytest.fixture
def federation(tmp_path):
    """Three sites, of which none is there yet; the coordinator listens."""
    with Federation(tmp_path / "partners", sites=3, colluders=0) as federation:
        federation.coordinate()
        # Of three sites none can be spared: a run from which one is revoked before it begins ends at once.
        federation.coordinator.wait_for("PhaseOpened")
        yield federation


def now():
    return datetime.now(UTC)


def credentials(federation, site="site-1"):
    return federation.parties.site(site).credentials(None, now())


def test_a_member_is_welcomed(federation):
    federation.agent("site-1")
    federation.link("site-1").wait_for("connected")
    federation.coordinator.wait_for("presence", connected=["site-1"])


@pytest.mark.parametrize(
    ("first", "code", "reason"),
    [
        (hello("site-2"), Code.PERMISSION_DENIED, "the certificate is not that of site-2"),
        (hello("nobody"), Code.PERMISSION_DENIED, "the certificate is not that of nobody"),
        (hello("site-1", versions=(7, 8)), Code.FAILED_PRECONDITION, "update the older"),
        (b"\xff\xff", Code.INVALID_ARGUMENT, "not a frame"),
        (Credit(bytes(16), 0, 0).serialise(), Code.PERMISSION_DENIED, "not a hello"),
        (hello("site-1") * 200_000, Code.RESOURCE_EXHAUSTED, "larger than max"),
    ],
    ids=["another", "nobody", "version", "garbage", "no hello", "long"],
)
def test_a_false_greeting_is_turned_away(federation, first, code, reason):
    welcome, ended, details = say(federation.port, credentials(federation), first)
    assert welcome is None
    assert ended == code
    assert reason in details


def test_a_member_that_breaks_the_protocol_is_cut_off(federation):
    welcome, ended, details = say(federation.port, credentials(federation), hello("site-1"), hello("site-1"))
    assert isinstance(welcome, Welcome)
    assert (ended, details) == (Code.PERMISSION_DENIED, "the link was greeted twice")


def test_a_certificate_of_another_authority_ends_in_the_handshake(federation, tmp_path):
    other = Parties.make(tmp_path / "other", ["site-1"], "127.0.0.1:1", 0).site("site-1")
    stolen = other.credentials(None, now())
    mixed = Credentials(credentials(federation).authority, stolen.certificate, stolen.key)
    assert say(federation.port, mixed, hello("site-1"))[:2] == (None, Code.UNAVAILABLE)


def test_the_coordinator_of_another_authority_is_not_trusted(federation, tmp_path):
    other = Parties.make(tmp_path / "other", ["site-1"], f"127.0.0.1:{federation.port}", 0)
    shutil.copytree(other.root / "site-1", federation.root / "stray")
    federation.start(HERE / "echo_agent.py", federation.root / "stray").wait_for("listening")
    link = federation.start(HERE / "toy_link.py", federation.root / "stray", f"127.0.0.1:{federation.port}")
    line = link.wait_for("disconnected")
    while "agent" in line["reason"]:
        line = link.wait_for("disconnected")
    assert line["reason"].endswith("its certificate is not one of this federation for this address")


def test_an_expired_certificate_is_refused_on_both_sides(federation):
    valid = credentials(federation)
    federation.parties.join("site-1", expired=True)
    link = federation.link("site-1")
    federation.agent("site-1").wait_for("listening")
    line = link.wait_for("disconnected")
    while "agent" in line["reason"]:
        line = link.wait_for("disconnected")
    assert "the certificate is valid from" in line["reason"]
    expired = federation.parties.site("site-1").bundle().certificate.encode()
    rogue = Credentials(valid.authority, expired, valid.key)
    assert say(federation.port, rogue, hello("site-1"))[:2] == (None, Code.UNAVAILABLE)
    federation.parties.join("site-1")
    link.wait_for("connected")  # the renewed one is used without a restart


def test_a_certificate_with_another_identity_is_not_the_sites(federation):
    """The authority's key was misused: the certificate names site-1, and the key of somebody else."""
    parties = federation.parties
    impostor = enrolment.create(federation.root / "impostor", "site-1", None)
    record = parties.federation().site("site-1")
    authority.revoke(parties.federation(), "site-1")
    parties.join("impostor")
    rogue = impostor.credentials(None, now())
    parties.federation().save_site(record)
    welcome, code, details = say(federation.port, rogue, hello("site-1"))
    assert (welcome, code) == (None, Code.PERMISSION_DENIED)
    assert details == "site-1 is not enrolled with this identity key"


def test_a_revoked_site_is_refused_at_once(federation):
    authority.revoke(federation.parties.federation(), "site-1")
    welcome, code, details = say(federation.port, credentials(federation), hello("site-1"))
    assert (welcome, code, details) == (None, Code.PERMISSION_DENIED, "the key of site-1 was revoked")
    federation.agent("site-1").wait_for("listening")
    federation.link("site-1").wait_for("disconnected", reason="the key of site-1 was revoked")


def test_a_site_revoked_in_the_middle_of_a_round_is_asked_for_nothing_more(tmp_path, simulated):
    with Federation(tmp_path / "partners", sites=5) as federation:
        gate = federation.gate("site-2")
        federation.open()
        federation.coordinator.wait_for("SiteAnswered", site="site-1", phase="train")
        authority.revoke(federation.parties.federation(), "site-1")
        gate.open()
        lost = {("site-1", 1): Fault(1), ("site-1", 2): Fault(0)}
        assert federation.result()["sha256"] == simulated(federation.root, lost)["sha256"]
        assert len(federation.agents["site-1"].events("asked")) == 1


def test_an_enrolled_stranger_is_not_a_site_of_the_run(federation):
    enrolment.create(federation.root / "guest", "guest", None)
    federation.parties.join("guest")
    welcome, code, details = say(federation.port, credentials(federation, "guest"), hello("guest"))
    assert (welcome, code, details) == (None, Code.PERMISSION_DENIED, "guest is not a site of this run")


def test_of_two_processes_with_one_identity_the_first_stays(federation, simulated):
    gate = federation.gate("site-1")
    for site in federation.names:
        federation.agent(site)
        federation.link(site).wait_for("connected")
    federation.agents["site-1"].wait_for("training")
    welcome, code, details = say(federation.port, credentials(federation), hello("site-1"))
    assert (welcome, code) == (None, Code.ALREADY_EXISTS)
    assert details == "another process is connected under this site's name"
    gate.open()
    assert federation.result() == simulated(federation.root)


def test_tls_below_1_3_is_refused(federation):
    site = federation.parties.site("site-1")
    bundle, files = site.bundle(), federation.root / "tls"
    files.mkdir()
    for name, pem in (("authority", bundle.authority), ("certificate", bundle.certificate)):
        (files / name).write_text(pem)
    (files / "key").write_bytes(credentials(federation).key)
    paths = str(files / "authority"), str(files / "certificate"), str(files / "key")
    assert handshake(federation.port, paths, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    with pytest.raises(OSError, match=r"EOF|reset|closed"):
        handshake(federation.port, paths, ssl.TLSVersion.TLSv1_2)


def test_a_flood_of_strangers_is_bounded_and_passes(federation, simulated):
    files, memory = use_of(federation.coordinator)
    strangers = flood(federation.port, 80)
    refused = [stranger for stranger in strangers if ended(stranger)]
    assert len(strangers) - len(refused) < 50
    assert_bounded(federation.coordinator, files, memory)
    for stranger in strangers:
        stranger.close()
    for site in federation.names:
        federation.agent(site)
        federation.link(site)
    assert federation.result() == simulated(federation.root)


def test_a_flood_of_strangers_does_not_end_a_run(federation, simulated):
    hold = federation.hold("site-2", 1, 1)
    for site in federation.names:
        federation.agent(site)
        federation.link(site)
    federation.agents["site-2"].wait_for("held")
    files, memory = use_of(federation.coordinator)
    strangers = flood(federation.port, 80)
    hold.open()
    assert_bounded(federation.coordinator, files, memory)
    strangers += flood(federation.port, 40)
    assert federation.result() == simulated(federation.root)
    assert all(len(link.events("connected")) == 1 for link in federation.links.values())
    for stranger in strangers:
        stranger.close()


def use_of(coordinator):
    """Open files, and bytes of memory."""
    process = psutil.Process(coordinator.pid)
    return process.num_fds(), process.memory_info().rss


def assert_bounded(coordinator, files, memory):
    after = use_of(coordinator)
    assert after[0] - files < 100
    assert after[1] - memory < 64 * 2**20


def ended(stranger):
    """Whether the coordinator has closed a connection."""
    stranger.settimeout(5)
    try:
        while stranger.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True
