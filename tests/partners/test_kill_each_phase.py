"""The halves of a site, killed while it works on each of the five requests of a round."""

import pytest
from processes import Federation

from sealora.privacy.audit_log import read_records
from sealora.simulation.faults import Fault

pytestmark = pytest.mark.slow
SITES, PHASES = 4, 5
KILLED = [(f"site-{(phase - 1) % SITES + 1}", phase) for phase in range(1, PHASES + 1)]
"""In round k, this site is killed in phase k, counted from 1; the first site comes round again."""


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
    with Federation(tmp_path / "partners", SITES, colluders=0, rounds=PHASES) as federation:
        holds = {number: federation.hold(site, number, number - 1) for site, number in KILLED}
        federation.open()
        for site, number in KILLED:
            federation.agents[site].wait_for("held", round=number, phase=number - 1)
            if halves != "agent":
                federation.links[site].kill()
            if halves == "link":
                federation.link(site).wait_for("connected")
                holds[number].open()
                continue
            federation.agents[site].kill()
            holds[number].remove()
            federation.agent(site)
            if halves == "both":
                federation.link(site)
        # What was not begun is done by the new process; a link holds nothing that could be lost.
        lost = {(site, number): Fault(number - 1) for site, number in KILLED if number > 1}
        assert federation.result() == simulated(federation.root, {} if halves == "link" else lost)
        assert trainings(federation) == {site: list(range(1, PHASES + 1)) for site in federation.names}
        for site in federation.names:
            left = [
                record.hash
                for record in read_records(federation.root / site / "audit.jsonl")
                if record.direction == "out" and record.kind == "masked"
            ]
            assert len(left) == len(set(left))
