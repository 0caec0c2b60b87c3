"""The one sentence in which every report states its guarantee."""

from sealora.privacy.ledger import Unit

ACCOUNTANT_NAMES = {"pld": "privacy loss distributions (PLD)", "rdp": "Rényi divergences (RDP)"}
UNITS: dict[str, tuple[str, str]] = {
    "record": ("training record", "record"),
    "group": ("group of training records", "group with all of its records"),
}


def unit_statement(
    epsilon: float, delta: float, accountant: str, unit: Unit, sites_of_a_unit: int = 1
) -> str:
    """Unit, neighbouring relation, ε, δ, accountant and assumptions of record- or group-level privacy.

    `sites_of_a_unit` is the number of sites at which one unit is known to be; ε then covers them all.
    """
    name, neighbour = UNITS[unit]
    where = (
        f"no {unit} is at two sites"
        if sites_of_a_unit == 1
        else (f"no {unit} is at more than {sites_of_a_unit} sites, whose losses are added up in ε")
    )
    return (
        f"Each {name} of each site has ({epsilon:.4g}, {delta:g})-differential privacy, "
        f"neighbouring data sets differing by one {neighbour} added or removed, by "
        f"{ACCOUNTANT_NAMES[accountant]} from the releases in the sites' ledgers; it holds against the "
        f"coordinator and the other sites too, for each site adds its own noise; this assumes that {where}, "
        "that the draw of the batches stays secret, that nothing else was released from the same data "
        "(runs and tuning that stand in no ledger included), and that noise rounded to floating "
        "point counts as Gaussian."
    )
