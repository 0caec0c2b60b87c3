"""A coordinator and sites as processes on loopback: mutual TLS, secure aggregation, the toy trainer."""

import pytest
import toy_plan
from processes import Federation

from sealora.simulation.toy import toy_federation

pytestmark = pytest.mark.slow


def simulated(folder, names_and_plan):
    names, plan = names_and_plan
    adapter, evaluated = toy_federation(folder, len(names), plan).coordinator().run()
    return {"sha256": adapter.sha256(), "metrics": evaluated.metrics}


@pytest.mark.parametrize("secure", [True, False])
def test_partners_get_the_adapter_of_the_simulation(tmp_path, secure):
    with Federation(tmp_path / "partners", sites=3, secure=secure, colluders=0) as federation:
        federation.open()
        result = federation.result()
    assert result == simulated(tmp_path / "simulated", toy_plan.read(federation.folder))
