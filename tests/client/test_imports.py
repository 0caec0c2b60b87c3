"""A site's image needs neither Flower nor Ray, and what guards its keys needs no torch."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SITE = sorted(
    [f"sealora.client.{path.stem}" for path in (ROOT / "client").glob("*.py") if path.stem != "__init__"]
    + [f"sealora.cli.{path.stem}" for path in (ROOT / "cli").glob("site*.py")]
)
HEAVY = ("flwr", "flwr_datasets", "ray")
BLOCK = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""


def imported(modules, absent):
    """Runs an interpreter that lacks some packages; returns the top-level packages that it loaded."""
    script = BLOCK.format(absent=absent) + f"for name in {modules}: __import__(name)\n"
    script += "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.slow
def test_a_site_needs_neither_flower_nor_ray():
    assert not imported(SITE, HEAVY) & set(HEAVY)


LINK = [
    "sealora.cli.main",
    "sealora.cli.site",
    "sealora.client.link",
    "sealora.client.agent_figures",
    "sealora.client.supervisor",
    "sealora.plan.metrics_endpoint",
]
"""All that `sealora site link` and the supervisor of `sealora site run` import."""


@pytest.mark.slow
def test_a_link_and_the_commands_of_a_site_need_neither_torch_nor_data_frames_nor_accountants():
    absent = (*HEAVY, "torch", "transformers", "peft", "datasets", "pandas", "sklearn", "dp_accounting")
    assert not imported(LINK, absent) & set(absent)


@pytest.mark.slow
def test_the_toy_of_the_fault_tests_loads_neither_torch_nor_scipy():
    """Their processes are started by the hundred."""
    modules = [
        "sealora.client.agent",
        "sealora.client.site",
        "sealora.server.service",
        "sealora.simulation.toy",
    ]
    assert not imported(modules, HEAVY) & {"torch", "scipy", "pandas", "datasets"}
