"""The helpers here are scripts of processes, too, so they are found by their bare names."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def simulated(tmp_path):
    """What the simulation makes of a federation's plan, perhaps with sites lost: the expected result."""
    import toy_plan

    from sealora.simulation.faults import Faults
    from sealora.simulation.toy import toy_federation

    def run(folder, lost=None):
        names, plan = toy_plan.read(folder)
        toy = toy_federation(tmp_path / "simulated", len(names), plan)
        adapter, evaluated = toy.coordinator(Faults(script=lost or {})).run()
        return {"sha256": adapter.sha256(), "metrics": evaluated.metrics}

    return run
