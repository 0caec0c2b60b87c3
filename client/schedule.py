"""The step size as a function of how much of the run is done, the same curve for every site."""

import math

from sealora.models.settings import TrainingSettings


def learning_rate(settings: TrainingSettings, progress: float) -> float:
    """Step size when the share `progress` in [0, 1) of the run's steps is done."""
    if progress < settings.warmup_fraction:
        return settings.learning_rate * progress / settings.warmup_fraction
    done = (progress - settings.warmup_fraction) / (1 - settings.warmup_fraction)
    factor = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[
        settings.schedule
    ]
    return settings.learning_rate * factor
