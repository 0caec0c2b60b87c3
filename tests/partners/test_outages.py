"""Networks that are down without saying so, for longer than the keepalive, and come back."""

import os
import threading

import pytest
from processes import PATIENCE, Federation
from proxy import Proxy
from switches import KEEPALIVE, keepalive
from test_network import MB, OPENING, echo, echoing, fleet_of

from sealora.protocol import transport

pytestmark = pytest.mark.slow


def test_a_site_that_was_cut_off_for_longer_than_the_keepalive_goes_on(tmp_path, simulated):
    with (
        Federation(tmp_path / "partners", sites=4, colluders=0) as federation,
        Proxy(federation.port) as proxy,
    ):
        federation.environment = {KEEPALIVE: "1"}
        hold = federation.hold("site-2", 1, 1)
        federation.coordinate()
        for site in federation.names:
            federation.agent(site)
            federation.link(site, port=proxy.port if site == "site-2" else None)
        federation.agents["site-2"].wait_for("held")
        proxy.stop()
        federation.links["site-2"].wait_for("disconnected")
        while "site-2" not in federation.coordinator.wait_for("presence")["absent"]:
            pass
        hold.open()  # it answers while nobody can hear it
        proxy.go()
        assert federation.result() == simulated(federation.root)
        assert len(federation.agents["site-2"].events("training")) == 2


@pytest.mark.parametrize("direction", ["down", "up"])
def test_a_transfer_that_was_cut_off_for_longer_than_the_keepalive_goes_on(tmp_path, monkeypatch, direction):
    for option, value in keepalive(1).items():
        monkeypatch.setitem(transport.COMMON, option, value)
    monkeypatch.setattr(transport, "KEEPALIVE_SECONDS", 1)
    request = OPENING + os.urandom(12 * MB)
    with (
        Federation(tmp_path / "partners", sites=1, colluders=0) as federation,
        fleet_of(federation) as fleet,
        Proxy(federation.port) as proxy,
    ):
        federation.environment = {KEEPALIVE: "1"}
        link = echoing(federation, "site-1", port=proxy.port)
        link.wait_for("connected")
        proxy.stop_after(direction, 6 * MB)
        exchange = fleet.exchange({"site-1": request}, PATIENCE)
        answers = []
        reader = threading.Thread(target=lambda: answers.extend(exchange))
        reader.start()
        link.wait_for("disconnected")
        proxy.go()
        reader.join()
        assert answers == [("site-1", echo(request))]
        assert len(federation.agents["site-1"].events("asked")) == 1
        assert proxy.carried[direction] < 2 * 12 * MB
