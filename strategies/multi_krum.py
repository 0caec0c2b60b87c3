"""Multi-Krum: the mean of the updates that have the most others nearby.

Blanchard et al. 2017 (arXiv 1703.02757), section 4, with the m = n − f − 2 updates of the smallest Krum
scores, the most for which El Mhamdi et al. 2018 (arXiv 1802.07927), section 2, prove it sound. Updates of
equal scores at the border share what is left. See `krum` for scores, `robust` for what is compared.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sealora.strategies.krum import Krum, scores
from sealora.strategies.robust import Updates
from sealora.strategies.strategy import Card


class MultiKrum(Krum):
    """The mean of the updates in dense places."""

    card: ClassVar[Card] = Card(
        summary="As krum, and less noisy: it averages all updates but the most remote.",
        source="Blanchard et al. 2017, arXiv 1703.02757; El Mhamdi et al. 2018, arXiv 1802.07927",
        arithmetic="robust",
    )

    def combine(self, updates: Updates, attackers: int) -> NDArray[np.float64]:
        """The mean of the n − f − 2 updates of the smallest scores, at least one."""
        found = scores(updates, attackers)
        selected = max(len(updates) - attackers - 2, 1)
        border = np.sort(found)[selected - 1]
        inside, on = found < border, found == border
        shares = inside + on * ((selected - inside.sum()) / on.sum())
        mean: NDArray[np.float64] = shares @ updates / selected
        return mean
