"""The part of a plan that promises privacy and says how it is paid for."""

import math
from typing import Annotated, Literal

from pydantic import Field

from sealora.protocol.settings import Settings


class PrivacySettings(Settings):
    """What is promised about records or groups of them (differential privacy), and how it is paid for.

    All of it is public: what a site does in a round follows from these constants, never from its rows.
    """

    guarantee: Literal["none", "record"] = "none"
    """Whose privacy is promised: nobody's, or that of each unit of a site, by DP-SGD (arXiv 1607.00133)."""
    unit: Literal["record", "group"] = "record"
    """What is protected as one: a row, or all rows with the same value in `data.group_column`."""
    epsilon: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """Budget ε of each site for the whole run; the site refuses what would exceed it."""
    delta: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Budget δ of each site for the whole run; well below one over a site's rows."""
    clipping_norm: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Largest L2 norm of one unit's gradient (a group's is summed) over all trained tensors together."""
    records_per_unit: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Most rows of a group in one step, drawn in secret for each step anew; 0 takes all."""
    sampling_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Chance of each unit to be in the batch of a step, drawn in secret by its site (Poisson sampling)."""
    expected_batch: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    """Units that a step counts on: sums of gradients are divided by it, however many were drawn."""
    steps_per_round: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Optimiser steps of a site in a round; 0 stands for training.epochs / sampling_rate, rounded up."""
    noise_multiplier: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """Standard deviation of the noise over clipping_norm; 0 takes the least that the budget allows."""
    accountant: Literal["pld", "rdp"] = "pld"
    """How ε is computed: privacy loss distributions (tight), or Rényi divergences (an upper bound)."""
    metrics: Literal["withheld", "public", "noised"] = "withheld"
    """Metrics are releases too: none, those of a public hold-out, or noised ones of the training rows."""
    metrics_noise: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """Noise multiplier of noised metrics; 0 takes what would cost a quarter of epsilon on its own."""
    public_holdout: str = ""
    """The public table for the metrics: a path as data.path, with the columns of [data], unfiltered."""

    @property
    def private(self) -> bool:
        """Whether anything is promised."""
        return self.guarantee != "none"

    @property
    def nominal_units(self) -> float:
        """Units of a site for which `expected_batch` is exact."""
        return self.expected_batch / self.sampling_rate

    def steps_of(self, epochs: int) -> int:
        """Steps of one round."""
        # The tolerance keeps 1 / 0.1 from counting as more than ten.
        return self.steps_per_round or max(1, math.ceil(epochs / self.sampling_rate - 1e-9))
