"""Lets the fuzzing tests import their targets and mutations, which stand beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
