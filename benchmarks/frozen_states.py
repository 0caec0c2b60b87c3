"""Many runs on one base: what its frozen layers make of a text is computed by the first that meets it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar
from unittest.mock import patch

from peft import PeftModel

from sealora.client import torch_trainer
from sealora.client.frozen_layers import FrozenLayers, States


class SharedLayers(FrozenLayers):
    """Frozen layers that remember across runs, all of which must have the same base."""

    known: ClassVar[dict[int, States]] = {}
    """By how many layers are frozen."""

    def __init__(self, model: PeftModel, states: States) -> None:
        super().__init__(model, states)
        self._states = self.known.setdefault(self._count, {})


@contextmanager
def shared_states() -> Iterator[None]:
    """Within, all runs share what they remember. Their results are the same as without."""
    with patch.object(torch_trainer, "FrozenLayers", SharedLayers):
        yield
