"""Networks that break, block, and stand in between."""

import hashlib
import os
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from processes import HERE, PATIENCE, Federation
from proxy import ConnectProxy, Proxy

from sealora.plan.logs import Log
from sealora.server.authority import Gate
from sealora.server.grpc_fleet import FleetSettings, GrpcFleet

pytestmark = pytest.mark.slow
MB = 1_000_000
OPENING = b"\x0a"
"""With which a request begins that may take long."""
NO_PROXY = {"no_proxy": "", "NO_PROXY": ""}


@contextmanager
def fleet_of(federation):
    """The coordinator's fleet in this process."""
    folder = federation.parties.federation()
    gate = Gate(folder)
    with (
        Path(os.devnull).open("w") as nowhere,
        GrpcFleet(
            lambda: federation.names,
            bytes(32),
            folder.credentials(None, datetime.now(UTC)),
            lambda certificate: gate.admit(certificate, datetime.now(UTC)),
            FleetSettings(f"127.0.0.1:{federation.port}"),
            Log("coordinator", nowhere),
        ) as fleet,
    ):
        yield fleet


def echoing(federation, site, **options):
    home = federation.root / site
    federation.agents[site] = federation.start(HERE / "echo_agent.py", home)
    return federation.link(site, **options)


def echo(request):
    return hashlib.sha256(request).digest() + request


@pytest.mark.parametrize("direction", ["down", "up"])
def test_a_transfer_that_is_cut_goes_on_where_it_was(tmp_path, direction):
    request = OPENING + os.urandom(20 * MB)
    with (
        Federation(tmp_path / "partners", sites=1, colluders=0) as federation,
        fleet_of(federation) as fleet,
        Proxy(federation.port) as proxy,
    ):
        echoing(federation, "site-1", port=proxy.port)
        for cuts in (1, 2):
            proxy.cut_after(direction, 12 * MB)
            asked = request + bytes([cuts])
            assert dict(fleet.exchange({"site-1": asked}, PATIENCE)) == {"site-1": echo(asked)}
            assert proxy.cuts == cuts
        assert len(federation.agents["site-1"].events("asked")) == 2
        # Begun again from the start it would be 12 MB more for each cut; what was under way is lost.
        assert proxy.carried[direction] < 2 * (20 + 9.5) * MB


def test_many_sites_and_large_replies_share_the_memory(tmp_path):
    requests = {f"site-{number}": OPENING + os.urandom(6 * MB) for number in (1, 2, 3)}
    with Federation(tmp_path / "partners", sites=3, colluders=0) as federation, fleet_of(federation) as fleet:
        fleet._board._budget._limit = 7 * MB
        for site in federation.names:
            echoing(federation, site)
        answers = {}
        for site, reply in fleet.exchange(requests, PATIENCE):
            assert len(fleet._board._budget._held) <= 1
            answers[site] = reply
        assert answers == {site: echo(request) for site, request in requests.items()}


def test_a_link_goes_through_an_http_proxy(tmp_path):
    with (
        Federation(tmp_path / "partners", sites=1, colluders=0) as federation,
        fleet_of(federation) as fleet,
        ConnectProxy() as proxy,
    ):
        settings = {"https_proxy": f"http://127.0.0.1:{proxy.port}", **NO_PROXY}
        echoing(federation, "site-1", environment=settings)
        assert dict(fleet.exchange({"site-1": OPENING + b"x"}, PATIENCE)) == {"site-1": echo(OPENING + b"x")}
        assert proxy.asked == [f"127.0.0.1:{federation.port}"]


def test_an_exchange_that_is_given_up_leaves_nothing_behind(tmp_path):
    with Federation(tmp_path / "partners", sites=2, colluders=0) as federation, fleet_of(federation) as fleet:
        echoing(federation, "site-1")
        exchange = fleet.exchange({"site-1": OPENING + b"1", "site-2": OPENING + b"2"}, PATIENCE)
        assert next(exchange) == ("site-1", echo(OPENING + b"1"))
        exchange.close()
        assert list(fleet.exchange({"site-1": OPENING + b"3"}, PATIENCE)) == [
            ("site-1", echo(OPENING + b"3"))
        ]
        echoing(federation, "site-2")
        assert list(fleet.exchange({"site-2": OPENING + b"4"}, PATIENCE)) == [
            ("site-2", echo(OPENING + b"4"))
        ]
        assert len(federation.agents["site-2"].events("asked")) == 1


def test_no_site_is_waited_for_beyond_the_deadline(tmp_path):
    with Federation(tmp_path / "partners", sites=1, colluders=0) as federation, fleet_of(federation) as fleet:
        assert list(fleet.exchange({"site-1": OPENING}, 0.2)) == []
