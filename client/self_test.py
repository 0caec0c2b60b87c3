"""The test before every private start: the gradients are right, and training reaches every tensor.

A model whose adapter silently does not train would spend its budget on nothing (Opacus, issue 820), and
a wrong gradient by example would be clipped wrongly, which breaks the promise.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from sealora.client.per_example import PerExampleGradients
from sealora.client.torch_trainer import TorchTrainer
from sealora.models.adapter import AdapterLayout, Array
from sealora.models.task import Example, Task
from sealora.protocol.errors import RunError

TOLERANCE = 1e-5
"""Largest difference between gradients by example and looped ones, relative to the looped ones."""
LENGTHS = (3, 7, 7, 12)
"""Tokens of the synthetic examples, at most: some are padded."""

Parameters = Mapping[str, nn.Parameter]
Step = Callable[[Parameters, Sequence[Example]], None]
UnitSum = Callable[[Parameters, Sequence[Sequence[Example]], int], torch.Tensor]


def synthetic_examples(task: Task, vocabulary: int) -> list[Example]:
    """A few rows of tokens that mean nothing."""
    generator = np.random.default_rng(0)
    return [
        task.synthetic(generator.integers(vocabulary // 2, vocabulary, length).tolist(), number)
        for number, length in enumerate(LENGTHS)
    ]


def check_training(
    trainer: TorchTrainer, layout: AdapterLayout, examples: Sequence[Example], step: Step
) -> None:
    """Raises RunError unless gradients by example are right and a step moves every tensor that trains."""
    parameters = _prepared(trainer, layout)
    _check_gradients(trainer, parameters, examples)
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    step(parameters, examples)
    still = [name for name, parameter in parameters.items() if torch.equal(parameter, before[name])]
    if still:
        raise RunError(f"the private self-test failed: a step does not move {still[0]}.", _REMEDY)
    for parameter in parameters.values():
        parameter.grad = None


def check_units(
    trainer: TorchTrainer,
    layout: AdapterLayout,
    examples: Sequence[Example],
    unit_sum: UnitSum,
    clipping_norm: float,
) -> None:
    """Raises RunError unless groups are clipped as one, also where a microbatch cuts through them."""
    parameters = _prepared(trainer, layout)
    groups = [examples[:3], examples[3:]]
    mine = unit_sum(parameters, groups, 2)
    true = torch.zeros_like(mine)
    for group in groups:
        total = sum(_looped(trainer, parameters, example) for example in group)
        true += total * min(1.0, clipping_norm / float(torch.linalg.vector_norm(total)))
    if not _alike(mine, true):
        raise RunError("the private self-test failed: groups of rows are not clipped as one.", _REMEDY)


_REMEDY = "Nothing was released; choose another model or other lora.target_modules."


def _check_gradients(trainer: TorchTrainer, parameters: Parameters, examples: Sequence[Example]) -> None:
    gradients = PerExampleGradients(trainer.model, parameters, trainer.sequences)
    with gradients.recording():
        found = gradients.of(trainer.losses(examples))
    dead = sorted(name for name in parameters if name not in found or not found[name].any())
    if dead:
        raise RunError(f"the private self-test failed: {dead[0]} has no gradient.", _REMEDY)
    for number, example in enumerate(examples):
        mine = torch.cat([found[name][number].reshape(-1) for name in parameters])
        if not _alike(mine, _looped(trainer, parameters, example)):
            raise RunError(
                "the private self-test failed: gradients by example are not those of single examples.",
                _REMEDY,
            )


def _looped(trainer: TorchTrainer, parameters: Parameters, example: Example) -> torch.Tensor:
    """One example's gradient by a backward pass of its own, end to end, float64 on the CPU."""
    gradients = torch.autograd.grad(trainer.losses([example]).sum(), list(parameters.values()))
    return torch.cat([gradient.reshape(-1) for gradient in gradients]).double().cpu()


def _alike(mine: torch.Tensor, true: torch.Tensor) -> bool:
    distance = torch.linalg.vector_norm(mine.double().cpu() - true)
    return bool(distance <= TOLERANCE * torch.linalg.vector_norm(true))


def _prepared(trainer: TorchTrainer, layout: AdapterLayout) -> Parameters:
    """The parameters that train, at values none of which is zero."""
    return trainer.prepare(_start(layout), layout.trained, bytes(32))


def _start(layout: AdapterLayout) -> dict[str, Array]:
    """An adapter none of whose tensors is zero, so that a gradient reaches each of them."""
    generator = np.random.default_rng(1)
    return {spec.name: generator.normal(0, 0.05, spec.shape).astype(np.float32) for spec in layout.specs}
