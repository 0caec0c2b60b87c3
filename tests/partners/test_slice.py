"""A coordinator and sites as processes on loopback: mutual TLS, secure aggregation, the toy trainer."""

import pytest
from processes import Federation

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("secure", [True, False])
def test_partners_get_the_adapter_of_the_simulation(tmp_path, simulated, secure):
    with Federation(tmp_path / "partners", sites=3, secure=secure, colluders=0) as federation:
        federation.open()
        assert federation.result() == simulated(federation.root)
