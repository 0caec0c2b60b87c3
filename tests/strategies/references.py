"""Every strategy's arithmetic written the obvious way, in float64, tensor by tensor.

A reference takes the rounds, each a mapping from site to the values that its training ended with, the
sites' weights, the settings and the number of all sites; it returns the model after the last round.
"""

import math
import statistics

import numpy as np

from sealora.models.names import core_of
from sealora.simulation.toy import FIRST, LAYOUT
from sealora.strategies.fed_sb import drawn_b

A = "layer.lora_A.weight"
B = "layer.lora_B.weight"
NAMES = [spec.name for spec in LAYOUT.specs]
HEAD = ["head.bias", "head.weight"]
CORE = core_of("layer")
SCALE = LAYOUT[B].scale
STEPS, STEP_SIZE = 5, 0.2
"""What every site says of its training."""


def first():
    return {name: FIRST[name].astype(np.float64) for name in NAMES}


def mean(ends, weights, name):
    """Σ w_k·W_k / Σ w_k of one tensor."""
    return sum(weights[site] * ends[site][name].astype(np.float64) for site in ends) / sum(
        weights[site] for site in ends
    )


def zeros():
    return {name: np.zeros(LAYOUT[name].shape) for name in NAMES}


def fedavg(rounds, weights, settings, sites, names=lambda number: NAMES):
    """McMahan et al. 2017, algorithm 1, of the named tensors."""
    model = first()
    for number, ends in enumerate(rounds, 1):
        for name in names(number):
            model[name] += settings.server_learning_rate * (mean(ends, weights, name) - model[name])
    return model


def ffa(rounds, weights, settings, sites):
    """Sun et al. 2024: the mean of B and the head; momentum is ours."""
    return fedavgm(rounds, weights, settings, sites, [*HEAD, B])


def rolora(rounds, weights, settings, sites):
    """Chen et al. 2025: B in odd rounds, A in even ones."""
    return fedavg(rounds, weights, settings, sites, lambda number: [*HEAD, B if number % 2 == 1 else A])


def fedsa(rounds, weights, settings, sites):
    """Guo et al. 2024: B is nobody else's business, nor is the head if it is personal."""
    head = HEAD if settings.options.get("head", "shared") == "shared" else []
    return fedavg(rounds, weights, settings, sites, lambda _: [*head, A])


def fedsvd(rounds, weights, settings, sites):
    """Lee et al. 2025: the decomposition of the whole product, rows with their largest entry positive."""
    model = first()
    for ends in rounds:
        for name in [*HEAD, B]:
            model[name] += settings.server_learning_rate * (mean(ends, weights, name) - model[name])
        left, values, right = np.linalg.svd(model[B] @ model[A])
        for row in range(LAYOUT.rank):
            sign = 1 if right[row].max() == abs(right[row]).max() else -1
            model[B][:, row] = sign * left[:, row] * values[row]
            model[A][row] = sign * right[row]
    return model


def scaffold(rounds, weights, settings, sites):
    """Karimireddy et al. 2020, algorithm 1, option II, with weighted updates."""
    model, common, own = first(), zeros(), {}
    for ends in rounds:
        before, control = dict(model), dict(common)
        for name in NAMES:
            model[name] = before[name] + settings.server_learning_rate * (
                mean(ends, weights, name) - before[name]
            )
        for site, values in ends.items():
            old = own.get(site, zeros())
            own[site] = {
                name: old[name] - control[name] + (before[name] - values[name]) / (STEPS * STEP_SIZE)
                for name in NAMES
            }
            for name in NAMES:
                common[name] = common[name] + (own[site][name] - old[name]) / sites
    return model


def feddyn(rounds, weights, settings, sites):
    """Acar et al. 2021, algorithm 1."""
    model, h, alpha = first(), zeros(), settings.options["alpha"]
    for ends in rounds:
        for name in NAMES:
            moves = [values[name] - model[name] for values in ends.values()]
            h[name] = h[name] - alpha / sites * sum(moves)
            average = sum(values[name].astype(np.float64) for values in ends.values()) / len(ends)
            model[name] = average - h[name] / alpha
    return model


def fedavgm(rounds, weights, settings, sites, names=NAMES):
    """Hsu et al. 2019, section 4.3."""
    model, velocity = first(), zeros()
    for ends in rounds:
        for name in names:
            velocity[name] = (
                settings.options["beta"] * velocity[name] + mean(ends, weights, name) - model[name]
            )
            model[name] = model[name] + settings.server_learning_rate * velocity[name]
    return model


def adaptive(rule):
    """Reddi et al. 2021, algorithm 2, value by value; `rule` gives the next v from v and Δ."""

    def reference(rounds, weights, settings, sites):
        beta1, tau = settings.options["beta1"], settings.options["tau"]
        model, m, v = first(), zeros(), zeros()
        for name in NAMES:
            v[name] += tau**2
        for ends in rounds:
            for name in NAMES:
                delta = mean(ends, weights, name) - model[name]
                for at in np.ndindex(delta.shape):
                    m[name][at] = beta1 * m[name][at] + (1 - beta1) * delta[at]
                    v[name][at] = rule(v[name][at], delta[at], settings.options.get("beta2"))
                    step = m[name][at] / (np.sqrt(v[name][at]) + tau)
                    model[name][at] += settings.server_learning_rate * step
        return model

    return reference


fedadagrad = adaptive(lambda v, delta, _: v + delta**2)
fedadam = adaptive(lambda v, delta, beta2: beta2 * v + (1 - beta2) * delta**2)
fedyogi = adaptive(lambda v, delta, beta2: v - (1 - beta2) * delta**2 * (1 if v > delta**2 else -1))


def product(ends):
    """s·B·A of one site."""
    return SCALE * ends[B].astype(np.float64) @ ends[A].astype(np.float64)


def mean_product(ends, weights):
    """Σ w_k·s·B_k·A_k / Σ w_k."""
    return sum(weights[site] * product(ends[site]) for site in ends) / sum(weights[site] for site in ends)


def as_factors(matrix):
    """Some B and A whose product, times s, is the matrix."""
    return {B: matrix / SCALE, A: np.eye(matrix.shape[1])}


def fed_sb(rounds, weights, settings, sites):
    """Singhal et al. 2025: FedAvg of R and the head, between fixed B and A."""
    model, core = fedavg(rounds, weights, settings, sites, lambda _: HEAD), np.zeros((2, 2))
    for ends in rounds:
        core += settings.server_learning_rate * (mean(ends, weights, CORE) - core)
    return {**model, B: drawn_b(FIRST, LAYOUT)[B] @ core}


def hetlora(rounds, weights, settings, sites):
    """Cho et al. 2024: weights are the norms of the products, up to the cap."""
    model = fedavg(rounds, weights, settings, sites, lambda _: HEAD)
    for ends in rounds:
        norms = {site: np.linalg.norm(product(values)) for site, values in ends.items()}
        norms = {site: min(norm, settings.options["norm_cap"]) for site, norm in norms.items()}
        for name in (A, B):
            model[name] += settings.server_learning_rate * (mean(ends, norms, name) - model[name])
    return model


def flexlora(rounds, weights, settings, sites):
    """Bai et al. 2024: the decomposition of the mean product, rows with their largest entry positive."""
    model = fedavg(rounds, weights, settings, sites, lambda _: HEAD)
    for ends in rounds:
        before = product(model)
        matrix = before + settings.server_learning_rate * (mean_product(ends, weights) - before)
        left, values, right = np.linalg.svd(matrix)
        for row in range(LAYOUT.rank):
            sign = 1 if right[row].max() == abs(right[row]).max() else -1
            model[B][:, row] = sign * left[:, row] * values[row] / SCALE
            model[A][row] = sign * right[row]
    return model


def flora(rounds, weights, settings, sites):
    """Wang et al. 2024: the base takes up every round's mean product."""
    model, matrix = fedavg(rounds, weights, settings, sites, lambda _: HEAD), product(FIRST)
    for ends in rounds:
        matrix = matrix + settings.server_learning_rate * mean_product(ends, weights)
    return {**model, **as_factors(matrix)}


def fedex(rounds, weights, settings, sites):
    """Singhal et al. 2024: the base takes up what the product of the means lacks of the mean product."""
    model, residual = first(), np.zeros((4, 6))
    for ends in rounds:
        before = product(model)
        matrix = before + settings.server_learning_rate * (mean_product(ends, weights) - before)
        for name in NAMES:
            model[name] += settings.server_learning_rate * (mean(ends, weights, name) - model[name])
        residual = residual + matrix - product(model)
    return {**model, **as_factors(residual + product(model))}


def robust(rule):
    """W + η·rule of the sites' moves, lists of all values; `rule` also gets how many may be bad."""

    def reference(rounds, weights, settings, sites):
        model = first()
        for ends in rounds:
            moves = [
                np.concatenate([(values[name] - model[name]).reshape(-1) for name in NAMES])
                for values in ends.values()
            ]
            step, start = rule(moves, min(1, (len(moves) - 1) // 2)), 0
            for name in NAMES:
                size = model[name].size
                move = np.reshape(step[start : start + size], model[name].shape)
                model[name] = model[name] + settings.server_learning_rate * move
                start += size
        return model

    return reference


@robust
def median(moves, attackers):
    """Yin et al. 2018, definition 1."""
    return [statistics.median(values) for values in zip(*moves, strict=True)]


@robust
def trimmed_mean(moves, attackers):
    """Yin et al. 2018, definition 2."""
    ordered = [sorted(values) for values in zip(*moves, strict=True)]
    return [statistics.fmean(values[attackers : len(values) - attackers]) for values in ordered]


def krum_scores(moves, attackers):
    """Blanchard et al. 2017, section 4, of at least one neighbour."""
    found = []
    for number, move in enumerate(moves):
        others = [other for place, other in enumerate(moves) if place != number]
        squares = sorted(sum((a - b) ** 2 for a, b in zip(move, other, strict=True)) for other in others)
        found.append(sum(squares[: max(1, len(moves) - attackers - 2)]))
    return found


@robust
def krum(moves, attackers):
    """The mean of all whose score is the smallest."""
    found = krum_scores(moves, attackers)
    return np.mean(
        [m for m, score in zip(moves, found, strict=True) if np.isclose(score, min(found))], axis=0
    )


@robust
def multi_krum(moves, attackers):
    """As many as n − f − 2 of the smallest scores; here that is one, so equal scores share it."""
    assert len(moves) - attackers - 2 <= 1
    found = krum_scores(moves, attackers)
    return np.mean(
        [m for m, score in zip(moves, found, strict=True) if np.isclose(score, min(found))], axis=0
    )


@robust
def geometric_median(moves, attackers):
    """Where the unit vectors to the moves cancel: many short steps downhill from their mean."""
    point, pace = np.mean(moves, axis=0), 1.0
    for _ in range(3000):
        slope = sum((point - move) / max(np.linalg.norm(point - move), 1e-12) for move in moves)
        point, pace = point - pace * slope, pace * 0.995
    return point


@robust
def norm_bound(moves, attackers):
    """Sun et al. 2019, section 4, with the median norm."""
    norms = [math.sqrt(sum(value**2 for value in move)) for move in moves]
    bound = statistics.median(norms)
    return np.mean([move / max(1, norm / bound) for move, norm in zip(moves, norms, strict=True)], axis=0)
