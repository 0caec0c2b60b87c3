"""What a plan will cost: parameters, bytes and time, before anything is trained.

Sizes are exact, from the model's configuration and the codec. The time is an estimate from the
arithmetic of training, and says what it assumes.
"""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from transformers import AutoConfig, AutoModel, PretrainedConfig

from sealora.models.adapter import AdapterLayout, TensorSpec, values_of
from sealora.models.base import describe, locate
from sealora.models.settings import ModelSettings
from sealora.models.task import load_task
from sealora.plan.cohort_sizes import cohort_sizes
from sealora.plan.payload import payload_layout, round_context, simulated_members
from sealora.plan.privacy_forecast import PrivacyForecast, privacy_forecast
from sealora.plan.settings import PlanSettings
from sealora.plan.strategy_checks import contributors
from sealora.plan.workers import simulated_workers
from sealora.protocol.messages import Work
from sealora.protocol.thresholds import tolerance
from sealora.strategies.product_strategy import ProductStrategy, Sketches
from sealora.strategies.registry import load_strategy

ASSUMED_ROWS = 1000
"""Rows of one site where the plan does not say how many there are."""
FORWARD, BACKWARD = 2, 2
"""FLOPs per parameter and token. Kaplan et al. 2020 (arXiv 2001.08361), section 2.1, count 2 forward and
4 backward; half of the latter are gradients of the weights, and the base's are frozen. Nothing goes
backward through layers below the first adapted one."""

EFFICIENCY = 0.5
"""Share of the speed of large matrix products that training is assumed to reach."""


@dataclass(frozen=True)
class Masks:
    """A secure session of a full cohort, or of the smallest of several groups."""

    sites: int
    colluders: int
    threshold: int
    """Sites t that hold a secret together."""
    minimum_contributors: int
    """Fewest sites whose sum is opened."""
    dropouts: dict[str, int]
    """Sites that may be lost in each phase, if none is lost in another."""
    groups: int
    """Fixed groups, each a session whose sum is shown; 0 where all sites are in one."""


@dataclass(frozen=True)
class Forecast:
    """Sizes of a run; bytes are one site's in one round, seconds are compute only."""

    parameters: int
    """Values of the adapter."""
    parameters_trained: int
    """Values of the adapter that sites train in a round."""
    parameters_sent: int
    """Values that a site sends for the strategy in a round."""
    parameters_personal: int
    """Values of the adapter that never leave their site."""
    base_parameters: int
    """Values of the base model outside its embeddings."""
    sites: int
    """Most sites of a round."""
    rounds: int
    words: int
    """64-bit words of an upload."""
    bytes_up: int
    """Bytes of an upload's words."""
    bytes_down: int
    """Bytes of the broadcast tensors."""
    seconds_per_round: float
    """One site's training and evaluation in one round."""
    seconds: float
    """The whole run, simulated on this machine."""
    assumption: str
    """What the seconds rest on."""
    sketches: Sketches | None
    """How products of factors travel; None if the strategy has none."""
    discloses: str
    """What the coordinator learns beyond sums of the sites' A, B and head; empty for nothing."""
    masks: Masks | None
    """The thresholds of secure aggregation; None if it is off."""
    privacy: PrivacyForecast | None
    """The account of the privacy guarantee; None without one."""


def forecast(
    plan: PlanSettings,
    flops_per_second: float,
    adapter: Callable[[PlanSettings], AdapterLayout] | None = None,
    base_parameters: Callable[[ModelSettings], int] | None = None,
) -> Forecast:
    """Forecast a plan for a machine of that speed.

    `adapter` and `base_parameters` read the model's configuration unless given. Raises ModelError
    if it cannot be had, PlanError if the sum cannot be carried.
    """
    layout = adapter(plan) if adapter else describe(plan.model, plan.lora, plan.task)
    size = (base_parameters or count_parameters)(plan.model)
    sites = contributors(plan)
    strategy = load_strategy(plan.strategy)
    session = max(cohort_sizes(plan, sites))
    context = round_context(plan, strategy, layout, 1, session, simulated_members(plan, session))
    payload = payload_layout(plan, strategy, load_task(plan.task), context, Work.TRAIN)
    trained = values_of(context.layout.training)
    rows = plan.data.rows / plan.simulation.sites if plan.data.rows else ASSUMED_ROWS
    seconds = flops(plan, size, rows, adapted_share(plan)) / (EFFICIENCY * flops_per_second)
    return Forecast(
        parameters=layout.parameters,
        parameters_trained=trained,
        parameters_personal=values_of(context.layout.of_kind("personal")),
        parameters_sent=sum(part.length for part in strategy.parts(context)),
        base_parameters=size,
        sites=sites,
        rounds=plan.rounds.count,
        words=payload.words,
        bytes_up=8 * payload.words,
        bytes_down=safetensors_bytes(strategy.broadcast(context)),
        seconds_per_round=seconds,
        seconds=seconds * sites * plan.rounds.count / min(simulated_workers(plan), sites),
        assumption=f"{rows:,.0f} rows of {plan.task.max_length} tokens at a site, at {EFFICIENCY:.0%} of "
        f"{flops_per_second / 1e9:,.0f} GFLOP/s",
        sketches=strategy.sketches(context) if isinstance(strategy, ProductStrategy) else None,
        discloses=strategy.card.discloses,
        masks=masks(plan, sites),
        privacy=privacy_forecast(plan, trained, sites),
    )


def masks(plan: PlanSettings, sites: int) -> Masks | None:
    """What secure aggregation among that many sites survives, all of them or in groups."""
    settings, sizes = plan.secure_aggregation, cohort_sizes(plan, sites)
    if not settings.enabled:
        return None
    sites = min(sizes)
    colluders, least = settings.colluders_of(sites), settings.minimum_of(sites)
    outcome = tolerance(sites, colluders, least)
    opened = max(least, outcome.threshold)
    groups = load_strategy(plan.strategy).groups
    return Masks(sites, colluders, outcome.threshold, opened, outcome.dropouts, groups)


def flops(plan: PlanSettings, base_parameters: int, rows: float, adapted: float) -> float:
    """Operations of one site in one round: training on its rows, evaluation on those held out.

    `adapted` is the share of the layers from the first adapted one on. Layers that are computed once are
    shared out among the rounds.
    """
    private, training = plan.privacy.private, plan.training
    tested = 0.0 if private else plan.data.test_fraction * rows
    forward, once = float(FORWARD), 0.0
    if training.cache_frozen_layers:
        forward, once = FORWARD * adapted, FORWARD * (1 - adapted) / plan.rounds.count
    drawn = (
        plan.privacy.steps_of(training.epochs) * plan.privacy.sampling_rate if private else training.epochs
    )
    trained = drawn * (rows - tested)
    passes = (forward + BACKWARD * adapted) * trained + forward * tested + once * rows
    return passes * plan.task.max_length * base_parameters


def adapted_share(plan: PlanSettings) -> float:
    """Share of the model's layers from the first adapted one on, as `lora.last_layers` says."""
    if not plan.lora.rank or not plan.lora.last_layers:
        return float(plan.lora.rank > 0)
    layers = int(getattr(read_config(plan.model), "num_hidden_layers", plan.lora.last_layers))
    return plan.lora.last_layers / layers


def read_config(settings: ModelSettings) -> PretrainedConfig:
    """A base model's configuration."""
    options = {"revision": settings.revision} if settings.revision else {}
    return AutoConfig.from_pretrained(locate(settings), **options)


def count_parameters(settings: ModelSettings) -> int:
    """Values of a base model outside its embeddings, from its configuration alone."""
    with torch.device("meta"):
        return int(AutoModel.from_config(read_config(settings)).num_parameters(exclude_embeddings=True))


def safetensors_bytes(specs: Iterable[TensorSpec]) -> int:
    """Bytes of these tensors as `adapter.pack` writes them: length, header padded to 8 bytes, values."""
    header, start = {}, 0
    for spec in sorted(specs, key=lambda spec: spec.name):
        stop = start + 4 * spec.size
        header[spec.name] = {"dtype": "F32", "shape": list(spec.shape), "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return 8 + -(-len(text) // 8) * 8 + start


def measure_flops(threads: int, side: int = 512, seconds: float = 0.2) -> float:
    """Operations per second of float32 matrix products on this CPU, in the best of many short tries."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        matrix = torch.ones(side, side)
        best, end = float("inf"), time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            torch.mm(matrix, matrix)
            best = min(best, time.perf_counter() - began)
    finally:
        torch.set_num_threads(before)
    return 2 * side**3 / best
