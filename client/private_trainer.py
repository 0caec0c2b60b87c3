"""Training under record-level differential privacy: DP-SGD on an adapter.

Abadi et al. 2016 (arXiv 1607.00133), algorithm 1: a Poisson sample of the units (rows, or groups of
them), each unit's gradient clipped, one Gaussian for their sum, division by the expected batch. Whatever
the optimiser does with that is post-processing. How many steps there are, and what they divide by, is
public.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import torch
from torch import nn

from sealora.client.batches import snug_batches
from sealora.client.per_example import PerExampleGradients, clipped_sum
from sealora.client.self_test import check_training, check_units
from sealora.client.torch_trainer import TorchTrainer, add_gradients
from sealora.client.unit_gradients import Unit, clipped_unit_sum
from sealora.client.units import units_of
from sealora.models import lora
from sealora.models.adapter import AdapterLayout, Tensors
from sealora.models.task import Counts, Example
from sealora.privacy.noise import GaussianNoise
from sealora.privacy.sampling import choose, poisson_sample
from sealora.privacy.schedule import Schedule
from sealora.privacy.settings import PrivacySettings
from sealora.strategies.strategy import Start, Trained

MICROBATCH = 32
"""Rows of one forward pass, unless the plan says otherwise: bounds the memory of single gradients."""
PASS_COST = {"cpu": 32}
"""What a pass of a small model costs beside its tokens, in tokens, by device."""
OTHER_PASS_COST = 4096
"""The same for accelerators, which are better kept busy with padding than with more passes."""


class PrivateTrainer:
    """A Trainer whose result is differentially private in every unit of `examples`.

    `synthetic` examples, which are no one's, serve the self-test that every start begins with; `layouts` are
    those that the strategy trains, round by round, and the trainer's own without one.
    Raises ModelError if the model's gradients cannot be had by example, RunError if the test fails.
    """

    def __init__(
        self,
        inner: TorchTrainer,
        settings: PrivacySettings,
        schedule: Schedule,
        microbatch_size: int,
        synthetic: Sequence[Example],
        layouts: Collection[AdapterLayout] = (),
    ) -> None:
        self._inner = inner
        self._settings = settings
        self._event = schedule.training
        self._microbatch = microbatch_size or MICROBATCH
        self._noise = GaussianNoise()
        for layout in layouts or [inner.layout]:
            check_training(inner, layout, synthetic, self._step_on)
            if settings.unit == "group":
                check_units(inner, layout, synthetic, self._clipped_unit_sum, settings.clipping_norm)

    @property
    def layout(self) -> AdapterLayout:
        """The adapter's tensors."""
        return self._inner.layout

    def train(
        self, start: Start, trains: Sequence[str], examples: Sequence[Example], round_number: int, seed: bytes
    ) -> Trained:
        """See Trainer. Neither loss nor rows are told: NaN and 0. `seed` decides nothing that is secret."""
        parameters = self._inner.prepare(start.tensors, trains, seed)
        optimizer, path = self._inner.optimizer(list(parameters.values())), 0.0
        units = units_of(examples, self._settings.unit)
        for step in range(self._event.steps):
            path += self._inner.set_step_size(optimizer, round_number, step / self._event.steps)
            drawn = [units[unit] for unit in poisson_sample(len(units), self._event.sampling_rate)]
            chosen = [choose(rows, self._settings.records_per_unit) for rows in drawn]
            self._set_gradients(parameters, [[examples[row] for row in rows] for rows in chosen])
            if start.gradient_term is not None:
                add_gradients(parameters, start.gradient_term)
            optimizer.step()
        self._inner.model.eval()
        steps = self._event.steps
        return Trained(lora.read(self._inner.model), float("nan"), 0, steps, path / steps)

    def evaluate(self, tensors: Tensors, examples: Sequence[Example]) -> dict[str, Counts]:
        """See Trainer. The counts are exact: for public examples only."""
        return self._inner.evaluate(tensors, examples)

    def rows(self, tensors: Tensors, examples: Sequence[Example]) -> Iterator[tuple[int, dict[str, Counts]]]:
        """See Trainer. Exact too: to be noised before it leaves the site."""
        return self._inner.rows(tensors, examples)

    def _step_on(self, parameters: Mapping[str, nn.Parameter], batch: Sequence[Example]) -> None:
        """One whole step on a batch that is no secret."""
        optimizer = self._inner.optimizer(list(parameters.values()))
        self._set_gradients(parameters, [[example] for example in batch])
        optimizer.step()

    def _set_gradients(self, parameters: Mapping[str, nn.Parameter], batch: Sequence[Unit]) -> None:
        """(Σ clipped gradients + noise) / expected batch, as the parameters' gradients."""
        if self._settings.unit == "group":
            total = self._clipped_unit_sum(parameters, batch, self._microbatch)
        else:
            total = self._clipped_sum(parameters, [example for (example,) in batch])
        deviation = self._event.noise_multiplier * self._settings.clipping_norm
        total += torch.from_numpy(self._noise.float64(total.numel(), deviation))
        total /= self._settings.expected_batch
        start = 0
        for parameter in parameters.values():
            part = total[start : start + parameter.numel()].reshape(parameter.shape)
            parameter.grad = part.to(parameter)
            start += parameter.numel()

    def _clipped_sum(self, parameters: Mapping[str, nn.Parameter], batch: Sequence[Example]) -> torch.Tensor:
        """See `clipped_sum`; rows of like length go through the model together. Zeros for no rows."""
        total = torch.zeros(sum(p.numel() for p in parameters.values()), dtype=torch.float64)
        gradients = PerExampleGradients(self._inner.model, parameters, self._inner.sequences)
        with gradients.recording():
            for rows in self._passes(batch, self._microbatch):
                losses = self._inner.losses([batch[row] for row in rows])
                total += clipped_sum(gradients.of(losses), parameters, self._settings.clipping_norm)
        return total

    def _clipped_unit_sum(
        self, parameters: Mapping[str, nn.Parameter], batch: Sequence[Unit], microbatch: int
    ) -> torch.Tensor:
        """See `clipped_unit_sum`."""
        return clipped_unit_sum(
            PerExampleGradients(self._inner.model, parameters, self._inner.sequences),
            self._inner.losses,
            self._passes,
            parameters,
            batch,
            microbatch,
            self._settings.clipping_norm,
        )

    def _passes(self, batch: Sequence[Example], microbatch: int) -> Iterator[list[int]]:
        """The rows of each forward pass."""
        cost = PASS_COST.get(self._inner.model.device.type, OTHER_PASS_COST)
        return snug_batches([example.length for example in batch], microbatch, cost)
