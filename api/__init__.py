"""Sealora: federated LoRA fine-tuning with secure aggregation and differential privacy.

import sealora

plan = sealora.Plan.load("plan.toml")
run = sealora.simulate(plan, "runs/first")
print(run.metrics, run.predict(["A delight from start to finish."]))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Comparison", "Plan", "Run", "SealoraError", "__version__", "audit", "compare", "simulate"]

if TYPE_CHECKING:
    from sealora.auditing import audit
    from sealora.comparing import Comparison, compare
    from sealora.plan.loader import Plan
    from sealora.protocol.errors import SealoraError
    from sealora.run import Run, simulate

_HOMES = {
    "Comparison": "sealora.comparing",
    "Plan": "sealora.plan.loader",
    "Run": "sealora.run",
    "SealoraError": "sealora.protocol.errors",
    "audit": "sealora.auditing",
    "compare": "sealora.comparing",
    "simulate": "sealora.run",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import sealora` and `sealora --help` stay quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'sealora' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
