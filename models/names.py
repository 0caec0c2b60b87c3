"""What an adapter's tensors beyond peft's A and B are called; known also where there is no torch."""


def core_of(module: str) -> str:
    """The name of a module's R."""
    return f"{module}.lora_B.core.weight"


def residual_of(module: str) -> str:
    """The name of a module's W."""
    return f"{module}.residual.weight"
