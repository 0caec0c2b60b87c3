"""The helpers here are scripts of processes, too, so they are found by their bare names."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
