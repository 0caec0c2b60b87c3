"""The one sentence in which every report states its guarantee."""

ACCOUNTANT_NAMES = {"pld": "privacy loss distributions (PLD)", "rdp": "Rényi divergences (RDP)"}


def record_statement(epsilon: float, delta: float, accountant: str) -> str:
    """Unit, neighbouring relation, ε, δ, accountant and assumptions of record-level privacy."""
    return (
        f"Each training record of each site has ({epsilon:.4g}, {delta:g})-differential privacy, "
        "neighbouring data sets differing by one record added or removed, by "
        f"{ACCOUNTANT_NAMES[accountant]} from the releases in the sites' ledgers; this assumes that no "
        "record is at two sites, that the draw of the batches stays secret, that nothing else was released "
        "from the same data (earlier runs and tuning included), and that noise rounded to floating point "
        "counts as Gaussian."
    )
