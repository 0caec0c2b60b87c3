"""What the base model alone makes of examples, kept for as many as fit: it never changes, but it adds up."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable

import torch

from sealora.models.task import Example

KEPT = 20_000
"""Examples whose outputs are kept, about a kilobyte each; those used longest ago are computed again."""


class References:
    """Outputs by example, for all replicas of a trainer; examples themselves are not kept."""

    def __init__(self, most: int = KEPT) -> None:
        self._most = most
        self._known: OrderedDict[bytes, torch.Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    def of(self, example: Example, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        """The example's outputs, from `compute` unless they are kept."""
        key = _key(example)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        outputs = compute()
        with self._lock:
            self._known[key] = outputs
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        return outputs


def _key(example: Example) -> bytes:
    """What the outputs depend on."""
    content = repr((example.tokens, example.others, example.target))
    return hashlib.sha256(content.encode()).digest()
