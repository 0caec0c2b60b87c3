"""Gradient inversion: which tokens were in a text, from the LoRA update of one SGD step on it?

While B is zero, its gradient is Σ_t g_t·(A·x_t)ᵀ over the tokens t: the rows span the A·x_t, and in a space
of rank r little else fits a span of fewer than r directions. What x_t can be is known for the first layer:
the embedding of each word of the vocabulary at each place. The nearest to the span is the guess (Petrov
et al. 2024, DAGER, arXiv 2405.15586, carried over to LoRA). A sum over more tokens than the rank spans
everything; there, and under noise, directions count by how strong they are.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sealora.models.adapter import Tensors
from sealora.models.assets import ASSETS, find
from sealora.models.site_data import SiteData
from sealora.plan.loader import Plan
from sealora.plan.privacy_forecast import plan_schedule
from sealora.server.loop import Coordinator
from sealora.server.store import CheckpointStore
from sealora.simulation.audit_report import Finding, Inapplicable, Verdict
from sealora.simulation.federation import Federation, assemble
from sealora.simulation.fleet import InProcessFleet

PLAN = Path(__file__).with_name("inversion.toml")
NEEDED = ("minilm", "movie-reviews")
VICTIMS = 4
"""Sites whose own updates are attacked."""
READABLE = 0.9
"""Share of tokens of a plain update that the attack must find, or it proves nothing about the others."""
HIDDEN = 0.05
"""Share of tokens that may be found where something hides them."""
PRIVATE = {
    "guarantee": "record",
    "epsilon": 8.0,
    "delta": 1e-5,
    "sampling_rate": 1.0,
    "expected_batch": 1.0,
    "steps_per_round": 1,
}


@dataclass(frozen=True)
class Update:
    """What the coordinator sees of some sites: their mean update, and the texts behind it."""

    tensors: Tensors
    noise_variance: float
    """Variance of one value by rounding and noise, which the attacker knows from the plan."""
    texts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Guesses:
    """The best words for each place, shape (places, most), the best first."""

    words: NDArray[np.int64]

    def found(self, update: Update, most: int = 1) -> tuple[int, int]:
        """(tokens of the update's texts that are among the first `most` guesses at their place, tokens).

        The marks that frame every text are not counted.
        """
        tokens = [(place, text[place]) for text in update.texts for place in range(1, len(text) - 1)]
        return sum(token in self.words[place, :most] for place, token in tokens), len(tokens)


def audit_inversion(seed: int, masked: bool, tell: Callable[[str], None]) -> tuple[Finding, ...]:
    """Attack single updates, their sum, and single updates under privacy, of the audit's own small plan.

    `masked` says whether the plan that is audited hides single updates at all.
    """
    for asset in ASSETS:
        if asset.name in NEEDED and find(asset) is None:
            raise Inapplicable(
                f"the inversion needs bundled:{asset.name}.", f"Run `sealora assets {' '.join(NEEDED)}`."
            )
    tell("Inversion: eight sites train, plain, masked and private")
    secure = Plan.load(PLAN).replace(seed=seed)
    plain = secure.replace(secure_aggregation={"enabled": False})
    with _federation(plain) as federation:
        attacker = Attacker(federation)
        single = [_update(federation, [site]) for site in list(federation.sites)[:VICTIMS]]
    with _federation(secure) as federation:
        total = _update(federation, list(federation.sites))
    with _federation(plain.replace(privacy=PRIVATE)) as federation:
        private = [_update(federation, [site]) for site in list(federation.sites)[:VICTIMS]]
    sites = len(total.texts)
    guesses = attacker.guess([*single, total, *private], sites, tell)
    return _findings(
        masked,
        {
            "plain": _share(single, guesses[:VICTIMS]),
            "sum": _share([total], guesses[VICTIMS : VICTIMS + 1]),
            "sum_with_a_guess_for_each_site": _share([total], guesses[VICTIMS : VICTIMS + 1], sites),
            "private": _share(private, guesses[VICTIMS + 1 :]),
        },
        longest=max(len(text) for text in total.texts),
        tokens=sum(len(text) for text in total.texts),
    )


@contextmanager
def _federation(plan: Plan) -> Iterator[Federation]:
    """Sites with one text each, the longest they have."""
    with tempfile.TemporaryDirectory(prefix="sealora-audit-") as state:
        federation = assemble(plan, Path(state))
        for site in federation.sites.values():
            longest = max(site.data.train, key=lambda example: len(example.tokens))
            site.data = SiteData([longest], [], site.data.report)
        yield federation


def _update(federation: Federation, sites: Sequence[str]) -> Update:
    """One round of these sites alone, through messages, masks and codec: the new model less the old one."""
    plan = federation.plan
    with tempfile.TemporaryDirectory(prefix="sealora-audit-") as store:
        adapter, _ = Coordinator(
            plan=plan,
            plan_hash=federation.contract.plan_hash,
            task=federation.task,
            strategy=federation.contract.strategy,
            initial=federation.initial,
            fleet=InProcessFleet({name: federation.sites[name].handle for name in sites}),
            store=CheckpointStore(Path(store)),
            sessions=federation.sessions,
        ).run()
    before = federation.initial.tensors
    return Update(
        {name: tensor - before[name] for name, tensor in adapter.tensors.items()},
        _noise_variance(plan) / len(sites),
        tuple(federation.sites[name].data.train[0].tokens for name in sites),
    )


def _noise_variance(plan: Plan) -> float:
    """Of one value of B in one site's update, by stochastic rounding (step²/6 on average) and by noise."""
    step: float = 2 * plan.codec.ranges.get("B", plan.codec.range) / (2**plan.codec.value_bits - 1)
    if not plan.privacy.private:
        return step**2 / 6
    noise: float = (
        plan_schedule(plan).noise_multiplier * plan.privacy.clipping_norm / plan.privacy.expected_batch
    )
    return step**2 / 6 + (noise * plan.training.learning_rate) ** 2


class Attacker:
    """Knows the base model, the first adapter and the plan, as every party of the run does."""

    def __init__(self, federation: Federation) -> None:
        base = federation.model.get_base_model()
        self._embed = base.base_model.embeddings
        self._words = base.get_input_embeddings().num_embeddings
        self._first: dict[str, torch.Tensor] = {
            spec.name: torch.from_numpy(federation.initial.tensors[spec.name.replace("lora_B", "lora_A")])
            for spec in federation.initial.layout.specs
            if spec.role == "B" and ".layer.0." in spec.name
        }

    @torch.inference_mode()
    def guess(self, updates: Sequence[Update], most: int, tell: Callable[[str], None]) -> list[Guesses]:
        """For each update the `most` best words at each place of its longest text."""
        weights = [{name: self._weights(update, name) for name in self._first} for update in updates]
        places = max(len(text) for update in updates for text in update.texts)
        words = np.zeros((len(updates), places, most), dtype=np.int64)
        for place in range(places):
            tell(f"Inversion: trying {self._words:,} words at place {place + 1} of {places}")
            projected = self._candidates(place)
            for number, weight in enumerate(weights):
                parts = [(projected[name] @ weight[name]).square().sum(dim=1) for name in self._first]
                distance = torch.stack(parts).sum(dim=0)
                words[number, place] = torch.topk(distance, most, largest=False).indices.numpy()
        return [Guesses(found) for found in words]

    def _candidates(self, place: int) -> dict[str, torch.Tensor]:
        """A·x for every word at this place, of unit length: shape (words, rank) by the name of B."""
        embedded = self._embed(
            input_ids=torch.arange(self._words)[None], position_ids=torch.full((1, self._words), place)
        )[0]
        return {
            name: torch.nn.functional.normalize(embedded @ matrix.T) for name, matrix in self._first.items()
        }

    def _weights(self, update: Update, name: str) -> torch.Tensor:
        """W such that |x·W|² is the part of x in directions no stronger than the noise, shape (rank, rank).

        With D = U·diag(√λ)·Vᵀ and noise of energy τ in each direction: V·diag(√(τ / (λ + τ))).
        """
        gradient = update.tensors[name].astype(np.float64)
        strength, directions = np.linalg.eigh(gradient.T @ gradient)
        noise = update.noise_variance * len(gradient)
        kept = directions * np.sqrt(noise / (strength.clip(min=0) + noise))
        return torch.from_numpy(kept.astype(np.float32))


def _share(updates: Sequence[Update], guesses: Sequence[Guesses], most: int = 1) -> float:
    """Share of all tokens of these updates' texts that are found at their place."""
    counts = [found.found(update, most) for update, found in zip(updates, guesses, strict=True)]
    return sum(found for found, _ in counts) / sum(tokens for _, tokens in counts)


def _findings(masked: bool, shares: Mapping[str, float], longest: int, tokens: int) -> tuple[Finding, ...]:
    plain = Finding(
        attack="inversion",
        target=f"The text (up to {longest} tokens) behind one site's plain update.",
        found=f"{shares['plain']:.1%} of its tokens, each at its place.",
        claimed="Nothing: without masks the coordinator sees it"
        + ("." if masked else ", and the plan that is audited has none."),
        verdict="no claim",
        figures={"share": shares["plain"]},
    )
    many = shares["sum_with_a_guess_for_each_site"]
    total = Finding(
        attack="inversion",
        target=f"The texts ({tokens} tokens) behind the masked sum of eight updates.",
        found=f"{shares['sum']:.1%} of the tokens by one guess a place ({many:.1%} by eight).",
        claimed=f"Masks hide single updates: at most {HIDDEN:.0%}.",
        verdict=_verdict(shares["plain"], shares["sum"]),
        figures={"share": shares["sum"], "share_by_a_guess_for_each_site": many},
    )
    private = Finding(
        attack="inversion",
        target="The text behind one site's plain update under record-level privacy.",
        found=f"{shares['private']:.1%} of its tokens.",
        claimed=f"Noise of ε = {PRIVATE['epsilon']:g} hides them: at most {HIDDEN:.0%}.",
        verdict=_verdict(shares["plain"], shares["private"]),
        figures={"share": shares["private"]},
    )
    return plain, total, private


def _verdict(plain: float, hidden: float) -> Verdict:
    """An attack that fails on what is not hidden says nothing about what is."""
    if plain < READABLE:
        return "untested"
    return "holds" if hidden <= HIDDEN else "broken"
