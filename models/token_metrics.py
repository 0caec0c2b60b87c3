"""Loss, perplexity and accuracy by token, as sums: the metrics of every language model."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from sealora.models.settings import TaskSettings
from sealora.models.task import LOSS_UNITS, Counts, SumSpec
from sealora.models.token_scores import LEFT_OUT

MAX_ROWS = 2**24 - 1
MAX_TOKENS = 2**26 - 1
"""Most rows, and tokens to be predicted, of one site that are counted."""
MAX_LOSS = 2**5
"""A token's loss counts as at most this much in the reported mean; guessing among all words costs 11."""
NOISED_LOSS = 8.0
"""Under noise a row's tokens count as at most this on average."""


class TokenMetrics:
    """The half of a task that counts tokens; see `Metrics`."""

    settings: TaskSettings
    headline = "perplexity"
    better: Literal["higher", "lower"] = "lower"

    def sums(self) -> tuple[SumSpec, ...]:
        """Loss, tokens, likeliest tokens and rows. One row adds up to `task.max_length` tokens."""
        longest = self.settings.max_length
        return (
            SumSpec("loss", 1, MAX_TOKENS * MAX_LOSS * LOSS_UNITS, longest * NOISED_LOSS * LOSS_UNITS),
            SumSpec("tokens", 1, MAX_TOKENS, longest),
            SumSpec("correct", 1, MAX_TOKENS, longest),
            SumSpec("rows", 1, MAX_ROWS, 1),
        )

    def count(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, Counts]:
        """Sums of one batch: see `sums`."""
        known = targets != LEFT_OUT
        losses = torch.nan_to_num(outputs[..., 0].double(), nan=MAX_LOSS).clamp(0, MAX_LOSS)
        return {
            "loss": np.array([round(float(losses[known].sum()) * LOSS_UNITS)]),
            "tokens": np.array([int(known.sum())]),
            "correct": np.array([int(outputs[..., 1][known].sum())]),
            "rows": np.array([len(targets)]),
        }

    def metrics(self, sums: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
        """Loss by token in nats, its exponential, and the share of tokens that are the likeliest.

        Noised sums may contradict each other; what they give is held within its range.
        """
        tokens = float(sums["tokens"][0])
        if tokens <= 0:
            return dict.fromkeys(("loss", "perplexity", "token_accuracy"), float("nan"))
        loss = max(0.0, float(sums["loss"][0])) / LOSS_UNITS / tokens
        return {
            "loss": loss,
            "perplexity": math.exp(min(loss, MAX_LOSS)),
            "token_accuracy": min(max(0.0, float(sums["correct"][0]) / tokens), 1.0),
        }

    def tables(self, sums: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
        """Tokens and rows behind the metrics."""
        return {"tokens": int(sums["tokens"][0]), "rows": int(sums["rows"][0])}
