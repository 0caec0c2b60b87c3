"""Freed memory: kept where the C library can be told to, and nothing happens elsewhere."""

import ctypes
import platform
import subprocess
import sys

import pytest

from sealora.plan.allocator import keep_freed_memory

FAULTS = """
import resource, sys
from sealora.plan.allocator import keep_freed_memory

if "keep" in sys.argv:
    assert keep_freed_memory()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

parts = [b"x" * (1 << 20) for _ in range(16)]
del parts
before = faults()
for _ in range(20):
    parts = [b"x" * (1 << 20) for _ in range(16)]
    del parts
print(faults() - before)
"""


def faults(*words):
    """Pages that were fetched from the system for messages like one that came before."""
    ran = subprocess.run([sys.executable, "-c", FAULTS, *words], capture_output=True, text=True, check=True)
    return int(ran.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_parts_of_a_message_are_taken_from_what_was_freed():
    assert faults("keep") < 100
    assert faults() > 1000


@pytest.mark.parametrize("missing", [OSError, TypeError, AttributeError])
def test_another_c_library_is_left_alone(missing, monkeypatch):
    def fails(_):
        raise missing

    monkeypatch.setattr(ctypes, "CDLL", fails)
    assert not keep_freed_memory()
