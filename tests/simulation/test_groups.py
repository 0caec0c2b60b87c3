"""Groups in a simulation: dealt whole, and counted where natural sites share them."""

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora.models.settings import DataSettings
from sealora.plan.settings import SimulationSettings
from sealora.protocol.errors import UsageError
from sealora.simulation.groups import deal, shared_by
from sealora.simulation.partition import partition

DATA = DataSettings(group_column="patient")


def table(patients, hospital=lambda row: "A"):
    rows = range(len(patients))
    return datasets.Dataset.from_dict(
        {
            "text": [f"text {row}" for row in rows],
            "label": [str(row % 2) for row in rows],
            "patient": patients,
            "hospital": [hospital(row) for row in rows],
        }
    )


def sites_of(rows, shares):
    """For each patient the sites with a row of theirs."""
    found = {}
    for site, dealt in shares.items():
        for row in dealt:
            found.setdefault(rows["patient"][row], set()).add(site)
    return found


@settings(deadline=None, max_examples=25)
@pytest.mark.slow
@given(
    st.lists(st.integers(0, 30), min_size=40, max_size=80),
    st.sampled_from(["iid", "size", "dirichlet"]),
    st.integers(0, 5),
)
def test_a_group_is_dealt_to_one_site(numbers, kind, seed):
    rows = table([f"p{number}" for number in numbers])
    settings = SimulationSettings(partition=kind, sites=3, minimum_rows=2, dirichlet_alpha=5.0)
    try:
        shares = deal(rows, DATA, settings, seed)
    except UsageError:
        return
    assert sorted(row for dealt in shares.values() for row in dealt) == list(range(len(rows)))
    assert all(len(sites) == 1 for sites in sites_of(rows, shares).values())
    assert not shared_by(rows, "patient", shares)
    assert shares == deal(rows, DATA, settings, seed)


def test_one_patient_in_different_spellings_is_one_group():
    rows = table(["7", " 7 ", "7.0", "8", "9", "10"])
    shares = deal(rows, DATA, SimulationSettings(sites=2, minimum_rows=2), 0)
    assert len({site for site, dealt in shares.items() if set(dealt) & {0, 1, 2}}) == 1


def test_without_a_group_column_rows_are_dealt_as_before():
    rows, settings = table(["p"] * 40), SimulationSettings(sites=3)
    assert deal(rows, DataSettings(), settings, 1) == partition(rows, settings, "label", 1)


def test_natural_sites_may_share_groups():
    """Patient p0 is at A and B, p1 at all three, p2 at C alone; nobody's rows count for no group."""
    patients = ["p0", "p0", "p1", "p1", "p1", "p2", None, None]
    hospitals = ["A", "B", "A", "B", "C", "C", "A", "B"]
    rows = table(patients, hospitals.__getitem__)
    settings = SimulationSettings(partition="natural", partition_column="hospital", minimum_rows=2)
    shares = deal(rows, DATA, settings, 0)
    assert shared_by(rows, "patient", shares) == {frozenset("ABC")}


@pytest.mark.parametrize("missing", [None, "", "nan"])
def test_rows_without_a_group_are_no_group(missing):
    rows = table([missing] * 20 + [f"p{number}" for number in range(20)])
    shares = deal(rows, DATA, SimulationSettings(sites=2), 0)
    assert min(map(len, shares.values())) == 20
