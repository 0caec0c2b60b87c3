"""What secure aggregation costs: masking, unmasking, whole attempts, memory and traffic.

    python benchmarks/secure_aggregation.py [--quick] [--only PART ...]

All parties are in this process, with real keys, signatures and messages, on one thread; seconds are
CPU seconds, so that other work on the machine counts little (masking, and the comparison with Flower,
are timed by the clock). An attempt's seconds are the coordinator's plus those of one site (the median),
as sites work side by side on machines of their own; nothing travels. A tenth of the sites falls away
after dealing its shares, the costliest moment. Above `ALL_TIMED` sites only `SAMPLED` are timed, and
the others share what they know of signatures.
"""

import os
from dataclasses import dataclass
from multiprocessing import get_context

from masking import WORD_BYTES, grid, keystream_limit, words_of
from masking import figures as masking_figures
from pairs import Spread, interleave, ratios, table
from parts import run_parts
from secure_federation import MASK, Federation, MemoryMeter, Stopwatch, seconds
from secure_flower import engine, flower
from secure_workload import FULL, QUICK, Case, Sizes, layout_of, random_words

from sealora.protocol.agreement import Agreement, commitment
from sealora.protocol.keys import ExchangeKey
from sealora.protocol.masks import apply_masks
from sealora.protocol.messages import Header, Work
from sealora.protocol.secure_requests import Member
from sealora.protocol.shamir import split
from sealora.protocol.unmasking import Unmasking

DROPOUTS = (0.0, 0.1, 0.3)
NEIGHBOURS = (10, 50, 100)
ALL_TIMED, SAMPLED = 100, 10
TRAFFIC_SITES = 30
EXPANDED, ADDED = 5.2e9, 1.6e9
"""Of the cost formula, on one core: bytes of mask a second, weights added a second."""
FORMULA_BYTES = 4
"""Of the cost formula: bytes of a weight, as in rounds of more than 54 sites."""


# --- masking and unmasking beside the keystream ---


def masking(sizes: Sizes) -> dict[str, float]:
    """Applying masks over making them."""
    found = masking_figures(grid(quick=sizes is QUICK))
    print(f"masking: {found['mask_over_limit']:.2f} times the keystream at worst")
    return {"mask_over_limit": found["mask_over_limit"], "keystream_gigabytes": keystream_speed()}


def keystream_speed() -> float:
    """Gigabytes of AES-256-CTR keystream a second, now."""
    words = 1 << 24
    return words * WORD_BYTES / seconds(lambda: keystream_limit(words, 1)) / 1e9


def unmasking(sizes: Sizes) -> dict[str, float]:
    """Recovering secrets, deriving keys and removing masks, over making as many bytes of keystream."""
    rows, worst = [], 0.0
    for weights in sizes.dimensions:
        for neighbours in NEIGHBOURS:
            for dropout in DROPOUTS:
                ours, limit = unmask_pairs(words_of(weights), neighbours + 1, dropout, sizes.pairs)
                ratio = Spread.of(ratios(ours, limit))
                rows.append(
                    (
                        f"{weights:,} weights, k = {neighbours}",
                        f"{dropout:.0%}",
                        f"{min(ours):.3f}",
                        ratio.text(2),
                    )
                )
                worst = max(worst, ratio.median)
    print(table(("unmasking", "dropout", "s", "over the keystream"), rows))
    return {"unmask_over_limit": worst}


def unmask_pairs(words: int, sites: int, dropout: float, pairs: int) -> tuple[list[float], list[float]]:
    """Seconds of unmasking and of its keystream, in turns."""
    dropped = round(dropout * sites)
    secrets = released_secrets(sites, dropped)
    vector = random_words(words, "unmask")
    masks = (sites - dropped) * (1 + dropped)
    works = {
        "ours": lambda _: seconds(lambda: apply_masks(vector, *fresh(secrets).masks())),
        "limit": lambda _: seconds(lambda: keystream_limit(words, masks)),
    }
    found = interleave(works, pairs)
    return found["ours"], found["limit"]


def fresh(secrets: Unmasking) -> Unmasking:
    """The same shares, of which nothing has been recovered."""
    return Unmasking(
        secrets.agreement, secrets.sharers, secrets.survivors, secrets.commitments, secrets.releases
    )


def released_secrets(sites: int, dropped: int) -> Unmasking:
    """What the coordinator holds when a session over a complete graph comes to its end."""
    keys = [ExchangeKey.generate() for _ in range(sites)]
    members = tuple(
        Member(f"site{number:04}", os.urandom(32), key.public, bytes(64)) for number, key in enumerate(keys)
    )
    names = tuple(member.site for member in members)
    header = Header(bytes(32), bytes(16), 1, 1, Work.TRAIN, bytes(32), names, 1, 1, 1, n_min=3)
    session = Agreement(header, bytes(32), members)
    survivors = tuple(range(sites - dropped))
    seeds = [os.urandom(32) for _ in keys]
    released = [seeds[place] if place in survivors else key.secret for place, key in enumerate(keys)]
    shares = [split(secret, session.threshold, sites) for secret in released]
    releases = {holder: b"".join(dealt[holder] for dealt in shares) for holder in survivors}
    commitments = {place: commitment(seed, names[place], session.name) for place, seed in enumerate(seeds)}
    return Unmasking(session, tuple(range(sites)), survivors, commitments, releases)


# --- whole attempts ---


@dataclass(frozen=True)
class Cost:
    """Seconds of one attempt, and what the formula makes of it."""

    site: float
    masking: float
    coordinator: float
    formula_masking: float
    formula_coordinator: float

    @property
    def over_formula(self) -> float:
        """The worse of both parties' ratios."""
        return max(self.masking / self.formula_masking, self.coordinator / self.formula_coordinator)

    def cells(self) -> list[str]:
        parts = self.site, self.masking, self.formula_masking, self.coordinator, self.formula_coordinator
        return [*(f"{part:.3f}" for part in parts), f"{self.over_formula:.2f}"]


def attempts(sizes: Sizes) -> dict[str, float]:
    """Seconds of attempts, and how they compare with counting masks and additions."""
    rows, named = [], {}
    for case in sizes.attempts:
        cost = attempt_cost(case)
        label = f"{case.sites} sites, n_min = {case.n_min}, k = {case.degree}, {case.weights:,} weights"
        rows.append((label, *cost.cells()))
        named[f"attempt_seconds_{case.name}"] = cost.site + cost.coordinator
        named[f"over_formula_{case.name}"] = cost.over_formula
    columns = ("attempt", "site s", "masking s", "formula", "coordinator s", "formula", "over formula")
    print(table(columns, rows))
    return named


def attempt_cost(case: Case) -> Cost:
    """One session with a tenth of the sites dropped before they mask."""
    federation = Federation(case.sites, case.colluders, case.n_min)
    layout, clock = layout_of(case.weights, case.sites), Stopwatch()
    timed = federation.names if case.sites <= ALL_TIMED else federation.names[:SAMPLED]
    dropped = case.sites // 10
    session = federation.run(
        layout, lambda name: random_words(layout.words, name), dropped, timed, coordinator=clock
    )
    survivors = case.sites - dropped
    expansions = survivors + dropped * case.degree * survivors / case.sites
    return Cost(
        site=session.site_seconds(timed),
        masking=session.masking_seconds(timed),
        coordinator=clock.seconds,
        formula_masking=FORMULA_BYTES * case.weights * (case.degree + 1) / EXPANDED,
        formula_coordinator=expansions * FORMULA_BYTES * case.weights / EXPANDED
        + survivors * case.weights / ADDED,
    )


# --- memory and traffic ---


def memory(sizes: Sizes) -> dict[str, float]:
    """The most vectors that the coordinator holds at a time, the reply that it reads included."""
    # In a process of its own: after other work, vectors would come out of memory that is resident already.
    with get_context("spawn").Pool(1) as pool:
        vectors = pool.apply(peak_vectors, sizes.memory)
    print(f"memory: at most {vectors:.2f} vectors at the coordinator of {sizes.memory[0]} sites")
    return {"coordinator_peak_vectors": vectors}


def peak_vectors(sites: int, weights: int) -> float:
    """Peak of the coordinator's resident memory over the bytes of one vector."""
    layout, meter = layout_of(weights, sites), MemoryMeter()
    Federation(sites).run(layout, lambda name: random_words(layout.words, name), 0, (), meter)
    return meter.peak / (layout.words * WORD_BYTES)


def traffic(sizes: Sizes) -> dict[str, float]:
    """Bytes of a site's masked reply for each weight, in rounds of 30."""
    weights = sizes.dimensions[0]
    named = {}
    for name, bits in (("bytes_per_weight", 16), ("bytes_per_weight_8bit", 8)):
        layout = layout_of(weights, TRAFFIC_SITES, bits)
        session = Federation(TRAFFIC_SITES).run(
            layout, lambda site, count=layout.words: random_words(count, site), 0, (), until=MASK
        )
        named[name] = session.masked_bytes / weights
    print(
        f"traffic: {named['bytes_per_weight']:.3f} bytes a weight, "
        f"{named['bytes_per_weight_8bit']:.3f} with 8 bits"
    )
    return named


PARTS = {part.__name__: part for part in (masking, unmasking, attempts, flower, engine, memory, traffic)}


if __name__ == "__main__":
    run_parts("secure_aggregation", "The cost of secure aggregation.", PARTS, FULL, QUICK)
