"""Record canaries: how well can an attacker tell which records a private site trained on?

A canary is a record whose gradient is one coordinate axis, ten times as long as the clipping norm. A
site with canaries alone trains by the product's own DP-SGD, and how far the adapter moved along each
axis tells whether its canary was there. Gradient-space canaries are those of Maddock, Sablayrolles &
Stock 2022 (arXiv 2210.02912) and Andrew et al. 2023 (arXiv 2302.03098), on axes as in Nasr et al. 2023
(arXiv 2302.07956): no record of the world can be easier to find, as all of its gradient points where no
other's does.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import SequenceClassifierOutput

from sealora.client.private_trainer import PrivateTrainer
from sealora.client.torch_trainer import TorchTrainer
from sealora.client.trainer import Trainer
from sealora.models.adapter import Tensors
from sealora.models.base import Base
from sealora.models.classification import Classification
from sealora.models.settings import LoraSettings, TaskSettings, TrainingSettings
from sealora.models.task import Example
from sealora.plan.privacy_checks import SMALLEST_NOISE
from sealora.privacy.audit_bound import best_rule, guessing_bound, largest_deviation, least_mean
from sealora.privacy.events import PoissonSampledGaussian
from sealora.privacy.schedule import Schedule
from sealora.privacy.settings import PrivacySettings
from sealora.simulation.audit_report import Finding
from sealora.simulation.trainer_pool import TrainerPool
from sealora.simulation.workers import run_all
from sealora.strategies.strategy import Start

CANARIES = 2048
"""Canaries of one site, and the dimension of its adapter."""
MOST_SITES = 8
STEPS = 16_000
"""Steps of all sites together, which is about half a minute: longer runs are audited at fewer sites."""
LENGTH = 10.0
"""Norm of a canary's gradient over the clipping norm: without clipping it would stand out tenfold."""
MICROBATCH = 256
SMALLEST_RATE = 1e-9
STRICT = 0.9995
"""Confidence in the noise and in the rate measured: both hold in 999 of 1,000 audits."""


@dataclass(frozen=True)
class Canaries:
    """Scores are the adapter's move along each canary's axis, in clipping norms, summed over the steps."""

    scores: NDArray[np.float64]
    """Shape (sites, canaries)."""
    included: NDArray[np.bool_]
    """Which canaries were among the records; same shape, each by a fair coin."""


def audit_canaries(
    settings: PrivacySettings,
    planned: Schedule,
    rounds: int,
    claimed: float,
    seed: int,
    tell: Callable[[str], None],
    noise: bool = True,
) -> Finding:
    """Train canaries as a site trains that many rounds, and compare what they show with the ε claimed.

    Without `noise`, the training has next to none, and everything else is the same: the claim is then
    false, and the finding has to say so.
    """
    event = planned.training if noise else replace(planned.training, noise_multiplier=SMALLEST_NOISE)
    steps = rounds * event.steps
    sites = min(MOST_SITES, max(2, STEPS // steps))
    found = train_canaries(settings, replace(planned, training=event), rounds, sites, seed, tell)
    figures = measure(found, planned, steps) | {"epsilon_claimed": claimed, "noise_switched_off": not noise}
    return _finding(figures)


def train_canaries(
    settings: PrivacySettings,
    schedule: Schedule,
    rounds: int,
    sites: int,
    seed: int,
    tell: Callable[[str], None],
) -> Canaries:
    """Let that many sites train, each on canaries of its own.

    A canary is at one site only, so what they release together is as private in it as what one releases.
    """
    included = np.random.default_rng(seed).random((sites, CANARIES)) < 0.5
    pool = _trainers(settings, schedule, rounds, min(sites, os.cpu_count() or 1))

    def train(site: int) -> NDArray[np.float64]:
        records = [_record(axis) for axis in range(CANARIES) if included[site, axis]]
        return _train(pool, records, rounds) / settings.clipping_norm

    scores = []
    for site, found in run_all(train, range(sites), pool.workers, pool.stop):
        tell(f"Canaries: {site + 1} of {sites} sites have trained {rounds * schedule.training.steps} steps")
        scores.append(found)
    return Canaries(np.stack(scores), included)


def _trainers(settings: PrivacySettings, schedule: Schedule, rounds: int, workers: int) -> TrainerPool:
    """The trainers of private sites, on a model whose gradients are axes."""
    # At a step size that undoes the division by the expected batch, SGD adds the noisy sums up.
    training = TrainingSettings(optimizer="sgd", learning_rate=settings.expected_batch)
    lora = LoraSettings(rank=1, alpha=1.0, target_modules=("axes",))
    single = TorchTrainer(_base(LENGTH * settings.clipping_norm), _Linear(_TASK), lora, training, rounds)
    synthetic = [_record(axis) for axis in range(4)]
    return TrainerPool(
        single, workers, lambda inner: PrivateTrainer(inner, settings, schedule, MICROBATCH, synthetic)
    )


def _train(trainer: Trainer, records: Sequence[Example], rounds: int) -> NDArray[np.float64]:
    """How far the adapter moved against each axis, shape (canaries,)."""
    names = {spec.role: spec.name for spec in trainer.layout.specs}
    # With B = 1, the gradient of A is the layer's input.
    tensors: Tensors = {
        names["A"]: np.zeros((1, CANARIES), np.float32),
        names["B"]: np.ones((1, 1), np.float32),
    }
    for number in range(1, rounds + 1):
        tensors = trainer.train(Start(tensors), (names["A"],), records, number, bytes(32)).tensors
    moved: NDArray[np.float64] = -tensors[names["A"]][0].astype(np.float64)
    return moved


def _record(axis: int) -> Example:
    """A record that is also a group by itself, should groups be protected."""
    return Example((axis,), 0, group=axis)


def measure(found: Canaries, planned: Schedule, steps: int) -> dict[str, Any]:
    """What the scores prove, against what was planned.

    `epsilon_shown` holds whatever the mechanism is (95 %). `epsilon_measured` takes it to be DP-SGD, with
    the most noise and the lowest rate that the scores agree with (99.9 %), through the plan's accountant.
    """
    event, delta = planned.training, planned.budget.delta
    out = found.scores[~found.included] / np.sqrt(steps)
    inside = found.scores[found.included] / steps
    noise = largest_deviation(out, STRICT)
    rate = min(1.0, max(least_mean(inside, STRICT), 0.0))
    return {
        **_guesses(found, steps * event.sampling_rate, delta),
        "epsilon_measured": _epsilon(planned, noise, rate, steps),
        "delta": delta,
        "noise_planned": event.noise_multiplier,
        "noise_measured": float(np.sqrt(np.square(out).mean())),
        "noise_at_most": noise,
        "rate_planned": event.sampling_rate,
        "rate_measured": float(inside.mean()),
        "rate_at_least": rate,
        "steps": steps,
        "sites": len(found.scores),
    }


def _guesses(found: Canaries, drawn: float, delta: float) -> dict[str, Any]:
    """The bound from guesses: the first site's canaries tell how to guess at the others'.

    `drawn` is the score that a canary which was there has on average; the less noise there is, the nearer
    to zero can a score be and still tell.
    """
    middles = [drawn / 2**halvings for halvings in range(5, 0, -1)]
    rule = best_rule(found.scores[0], found.included[0], middles, delta)
    scores, included = found.scores[1:].reshape(-1), found.included[1:].reshape(-1)
    guesses, correct, shown = rule.guess(scores, included, delta)
    return {
        "epsilon_shown": shown,
        "epsilon_could_show": guessing_bound(scores.size, scores.size, scores.size, delta),
        "canaries": scores.size,
        "guesses": guesses,
        "correct": correct,
    }


def _epsilon(planned: Schedule, noise: float, rate: float, steps: int) -> float:
    event = PoissonSampledGaussian(max(noise, SMALLEST_NOISE), max(rate, SMALLEST_RATE), steps)
    return planned.accountant.epsilon([event], planned.budget.delta)


def _finding(figures: dict[str, Any]) -> Finding:
    claimed, shown, measured = (figures[f"epsilon_{key}"] for key in ("claimed", "shown", "measured"))
    off = ", its noise switched off" if figures["noise_switched_off"] else ""
    return Finding(
        attack="canaries",
        target=f"Which records a site trained on in {figures['steps']} steps of DP-SGD{off}.",
        found=(
            f"{figures['correct']} of {figures['guesses']} guesses at who was there are right: ε is at least "
            f"{shown:.2f}. Noise {figures['noise_measured']:.3g} (planned: {figures['noise_planned']:.3g}) "
            f"and sampling rate {figures['rate_measured']:.3g} (planned: {figures['rate_planned']:.3g}) were "
            f"measured: if it is DP-SGD, ε is at least {measured:.3g}."
        ),
        claimed=f"ε is at most {claimed:.4g} at δ = {figures['delta']:g}.",
        verdict="broken" if max(shown, measured) > claimed else "holds",
        figures=figures,
    )


# --- a model whose gradients are axes ---

_TASK = TaskSettings(labels=("out", "in"))


class _Axes(PreTrainedModel):  # type: ignore[misc]
    """Token i enters the layer `axes` as `length` times the i-th axis; the logit is what comes out."""

    config_class = PretrainedConfig

    def __init__(self, length: float) -> None:
        super().__init__(PretrainedConfig())
        self.length = length
        self.axes = nn.Linear(CANARIES, 1, bias=False)

    def forward(self, input_ids: torch.Tensor, **_: Any) -> SequenceClassifierOutput:
        """Logits of shape (batch, 1)."""
        inputs = nn.functional.one_hot(input_ids[:, 0], CANARIES).float() * self.length
        return SequenceClassifierOutput(logits=self.axes(inputs))


class _Linear(Classification):
    """Its loss is the logit itself, so that the gradient is the same at every step."""

    def losses(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Shape (batch,)."""
        return outputs[:, 0]


def _base(length: float) -> Base:
    model = _Axes(length).requires_grad_(False)
    tokenizer = cast(PreTrainedTokenizerBase, SimpleNamespace(pad_token_id=0))
    return Base(model, tokenizer, torch.device("cpu"), None)
