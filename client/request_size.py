"""How long a request of a plan can be: an agent bounds what it holds before it has read anything of it."""

from sealora.client.contract import Contract
from sealora.models.adapter import AdapterLayout
from sealora.plan.payload import round_context
from sealora.protocol.messages import MAX_MESSAGE_BYTES

ROOM = 1 << 24
"""Bytes for header and keys: of 10,000 sites, or of 1,500 with as many sessions to close as there can be."""
TENSOR_ROOM = 256
"""Bytes that tell of a tensor besides its name, which is there twice where it is trained."""
TURNS = 12
"""Rounds that are looked at: a strategy may send other tensors in every second one."""


def largest_request(contract: Contract, adapter: AdapterLayout) -> int:
    """Bytes of the longest message that a site of this plan can honestly be sent."""
    plan, strategy = contract.plan, contract.strategy
    contexts = (round_context(plan, strategy, adapter, number, 1) for number in range(1, TURNS + 1))
    tensors = max(
        sum(4 * spec.size + 2 * len(spec.name.encode()) + TENSOR_ROOM for spec in strategy.broadcast(context))
        for context in contexts
    )
    return min(MAX_MESSAGE_BYTES, tensors + ROOM)
