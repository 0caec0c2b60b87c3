"""The memory that site.toml grants is a limit of the process, so a process of its own is tried."""

import subprocess
import sys

import pytest

from sealora.client.resources import limit_memory
from sealora.client.site_settings import ResourceSettings

SCRIPT = """
import resource
from sealora.client.resources import limit_memory
from sealora.client.site_settings import ResourceSettings
limit_memory(ResourceSettings(memory={memory}))
try:
    block = bytearray(1 << 30)
    print("granted")
except MemoryError:
    print("refused")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts data in this way")
@pytest.mark.parametrize(("memory", "outcome"), [(0.5, "refused"), (4.0, "granted"), (0.0, "granted")])
def test_memory_is_limited(memory, outcome):
    script = SCRIPT.format(memory=memory)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == outcome


def test_no_limit_leaves_the_process_alone(monkeypatch):
    monkeypatch.setattr("resource.setrlimit", lambda *_: pytest.fail("it was limited"))
    limit_memory(ResourceSettings())
