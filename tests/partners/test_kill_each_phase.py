"""The halves of a site, killed while it works on each of the five requests of a round."""

import pytest
from processes import Federation

from sealora.privacy.audit_log import read_records
from sealora.simulation.faults import Fault

pytestmark = pytest.mark.slow
SITES = PHASES = 5
"""In round k, site k is killed in phase k, counted from 1."""


def trainings(federation):
    """Rounds that each site trained in, over all its processes."""
    rounds = {site: [] for site in federation.names}
    for process in federation.started:
        if "toy_agent.py" in process.command:
            site, asked = process.command.split()[-1], None
            for line in process.lines:
                asked = line.get("round", asked) if line["event"] == "asked" else asked
                if line["event"] == "training":
                    rounds[site].append(asked)
    return rounds


@pytest.mark.parametrize("halves", ["agent", "link", "both"])
def test_a_site_killed_in_any_phase_costs_that_phase_at_most(tmp_path, simulated, halves):
    with Federation(tmp_path / "partners", SITES, colluders=1, rounds=PHASES) as federation:
        schedule = dict(zip(federation.names, range(1, PHASES + 1), strict=True))
        holds = {site: federation.hold(site, number, number - 1) for site, number in schedule.items()}
        federation.open()
        for site, number in schedule.items():
            federation.agents[site].wait_for("held", round=number, phase=number - 1)
            if halves != "agent":
                federation.links[site].kill()
            if halves == "link":
                federation.link(site).wait_for("connected")
                holds[site].open()
                continue
            federation.agents[site].kill()
            holds[site].remove()
            federation.agent(site)
            if halves == "both":
                federation.link(site)
        # What was not begun is done by the new process; a link holds nothing that could be lost.
        lost = {(site, number): Fault(number - 1) for site, number in schedule.items() if number > 1}
        assert federation.result() == simulated(federation.root, {} if halves == "link" else lost)
        assert trainings(federation) == {site: list(range(1, PHASES + 1)) for site in federation.names}
        for site in federation.names:
            left = [
                record.hash
                for record in read_records(federation.root / site / "audit.jsonl")
                if record.direction == "out" and record.kind == "masked"
            ]
            assert len(left) == len(set(left))
