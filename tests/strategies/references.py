"""Every strategy's arithmetic written the obvious way, in float64, tensor by tensor.

A reference takes the rounds, each a mapping from site to the values that its training ended with, the
sites' weights, the settings and the number of all sites; it returns the model after the last round.
"""

import numpy as np

from sealora.simulation.toy import FIRST, LAYOUT

A = "layer.lora_A.weight"
B = "layer.lora_B.weight"
NAMES = [spec.name for spec in LAYOUT.specs]
STEPS, STEP_SIZE = 5, 0.2
"""What every site says of its training."""


def first():
    return {name: FIRST[name].astype(np.float64) for name in NAMES}


def mean(ends, weights, name):
    """Σ w_k·W_k / Σ w_k of one tensor."""
    return sum(weights[site] * ends[site][name].astype(np.float64) for site in ends) / sum(
        weights[site] for site in ends
    )


def fedavg(rounds, weights, settings, sites, frozen=()):
    """McMahan et al. 2017, algorithm 1."""
    model = first()
    for ends in rounds:
        for name in NAMES:
            if name not in frozen:
                model[name] += settings.server_learning_rate * (mean(ends, weights, name) - model[name])
    return model


def ffa(rounds, weights, settings, sites):
    """Sun et al. 2024: FedAvg of B and the head."""
    return fedavg(rounds, weights, settings, sites, frozen=(A,))
