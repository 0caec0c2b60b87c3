"""A simulation asks and tells nobody: not a hub, not a counter of users, not a server of updates."""

import socket

import pytest
from watch import CalledOut, nobody_is_called

import sealora


@pytest.mark.parametrize("address", [("192.0.2.1", 9), ("hub.example.org", 443)])
def test_a_call_would_be_noticed(address):
    with nobody_is_called() as calls:
        with pytest.raises(CalledOut):
            socket.create_connection(address, timeout=0.1)
        assert [host for _, host in calls] == [address[0]]
        socket.getaddrinfo("127.0.0.1", 80)
        assert len(calls) == 1


@pytest.mark.slow
def test_a_run_from_its_plan_to_a_prediction(tiny, tmp_path):
    """Local model and data; see test_ray.py for a run on Ray."""
    with nobody_is_called() as calls:
        run = sealora.simulate(tiny.plan(tmp_path), tmp_path / "run", rounds=1)
        run.predict(["the film was warm"])
    assert calls == []
