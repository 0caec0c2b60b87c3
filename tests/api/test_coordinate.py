"""The run folder of a coordinator: its plan is the one that the run is of."""

import pytest

from sealora.coordinate import coordinate
from sealora.plan.loader import load
from sealora.plan.logs import Log
from sealora.protocol.errors import UsageError
from sealora.server.grpc_fleet import FleetSettings
from sealora.server.service import Service
from sealora.server.store import Checkpoint, CheckpointStore
from sealora.simulation.run_folder import RunFolder

pytestmark = pytest.mark.slow


def test_a_plan_that_is_mended_after_a_failed_first_start_is_the_runs(tiny, partners, tmp_path, monkeypatch):
    state = tmp_path / "run"

    def fail(service, observers):
        raise UsageError("cannot listen.")

    def start(plan):
        monkeypatch.setattr(Service, "run", fail)
        with pytest.raises(UsageError, match="cannot listen"):
            coordinate(plan, partners.federation, state, FleetSettings(), Log("coordinator"))
        return RunFolder.open(state).plan.lora.rank

    first = load(tiny.plan(tmp_path)).replace(lora={"rank": 8})
    assert start(first) == 8
    assert start(first.replace(lora={"rank": 4})) == 4
    # Once there is a checkpoint the plan stays: the coordinator itself refuses another one.
    CheckpointStore(state / "state").save(Checkpoint(bytes(16), bytes(32), {}))
    assert start(first) == 4
