"""How many sites a secure session needs: pure functions, for both halves and for checking plans.

For n sites of which c may collude with the coordinator, t = ⌊(n + c)/2⌋ + 1 of them hold a secret
together. Any two sets of t sites then share an honest one (2t > n + c), which is why neither two
views of the survivors nor a closed and an opened session can both find t supporters (SPEC.md,
section 4; Bonawitz et al. 2017, theorem 6.5).
"""

from dataclasses import dataclass

HONEST_FLOOR = 3
"""Honest sites in the smallest sum: with two, each would learn the other's input."""


def threshold(sites: int, colluders: int) -> int:
    """t: shares that recover a secret, and statements that open a session, among `sites` of U1."""
    return (sites + colluders) // 2 + 1


def smallest_n_min(colluders: int) -> int:
    """Smallest `n_min` allowed: three honest sites and the colluders."""
    return colluders + HONEST_FLOOR


def floor(sites: int, colluders: int, n_min: int) -> int:
    """Fewest sites of a session with `sites` members whose sum may be opened: max(n_min, t)."""
    return max(n_min, threshold(sites, colluders))


@dataclass(frozen=True)
class Tolerance:
    """What a combination of sites, colluders and `n_min` can and cannot survive.

    threshold: t for a full cohort.
    honest: honest sites in the smallest sum that can be opened.
    dropouts: sites that may fall away at each phase, if none did at another.
    problem: why the combination cannot work, or "".
    """

    threshold: int
    honest: int
    dropouts: dict[str, int]
    problem: str


def tolerance(sites: int, colluders: int, n_min: int) -> Tolerance:
    """Forecast a secure session of `sites` sites. Every argument ≥ 0; nothing is raised."""
    shared = threshold(sites, colluders)
    least = floor(sites, colluders, n_min)
    dropouts = {
        "advertise": sites - _smallest_session(colluders, n_min),
        "share": sites - least,
        "mask": sites - least,
        "consistency": sites - shared,
        "unmask": sites - shared,
    }
    return Tolerance(
        threshold=shared,
        honest=least - colluders,
        dropouts={phase: max(0, left) for phase, left in dropouts.items()},
        problem=_problem(sites, colluders, n_min),
    )


def _smallest_session(colluders: int, n_min: int) -> int:
    """Fewest sites m of U1 with m ≥ max(n_min, t(m)); m ≥ t(m) holds from m = c + 1 or c + 2 on."""
    sites = max(n_min, 1)
    while sites < threshold(sites, colluders):
        sites += 1
    return sites


def _problem(sites: int, colluders: int, n_min: int) -> str:
    least = smallest_n_min(colluders)
    if sites < least:
        most = max(0, sites - HONEST_FLOOR)
        return (
            f"{sites} sites cannot defend against {colluders} colluders: the smallest sum must contain "
            f"{HONEST_FLOOR} honest sites, so at least {least} sites must take part"
            + (f", or at most {most} may collude." if sites >= HONEST_FLOOR else ".")
        )
    if n_min < least:
        return f"n_min is {n_min}, but with {colluders} colluders it must be at least {least}."
    if n_min > sites:
        return f"n_min is {n_min}, but the cohort has only {sites} sites."
    if threshold(sites, colluders) > sites:
        return f"{colluders} colluders among {sites} sites leave no threshold that honest sites can reach."
    return ""
