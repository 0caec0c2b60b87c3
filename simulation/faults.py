"""Scripted misfortune: which simulated site is lost or late, in which phase of which attempt."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from sealora.plan.settings import SimulationSettings
from sealora.protocol.keystream import derive_key

PHASES = 5
"""A lost site vanishes in one of at most this many phases."""

LOST = math.inf
"""A delay that no reply survives: the site does not even work."""
LATE = 1e12
"""A delay beyond every deadline: the site works, and its reply comes too late."""


@dataclass(frozen=True)
class Fault:
    """From `phase` on (0 is training) the site is lost, or answers `delay` virtual seconds late.

    After `times` requests it is well again; a phase that is asked again counts as often as it is asked.
    """

    phase: int
    delay: float = LOST
    times: float = math.inf

    def delay_of(self, request: int) -> float:
        """Virtual seconds by which the answer to a request is late, counted from 0 within the attempt."""
        return self.delay if self.phase <= request < self.phase + self.times else 0.0


@dataclass(frozen=True)
class Faults:
    """Faults drawn from a seed at the plan's rates, besides those written down in `script`.

    A fault belongs to (site, round) and befalls the first attempt only, so that a retry can succeed.
    """

    settings: SimulationSettings = field(default_factory=SimulationSettings)
    seed: int = 0
    script: Mapping[tuple[str, int], Fault] = field(default_factory=dict)

    def of(self, site: str, round_number: int, attempt: int) -> Fault | None:
        """The fault that befalls this site in this attempt, if any."""
        if attempt > 1:
            return None
        if (site, round_number) in self.script:
            return self.script[site, round_number]
        draw = np.random.default_rng(list(derive_key("sealora/v1/faults", self.seed, site, round_number)))
        chance, phase = draw.random(), int(draw.integers(PHASES))
        if chance < self.settings.dropout_rate:
            return Fault(phase)
        late = chance < self.settings.dropout_rate + self.settings.straggler_rate
        return Fault(0, LATE) if late else None
