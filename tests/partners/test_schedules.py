"""A hundred runs with faults drawn from a seed. `SEALORA_SCHEDULE_SEED` repeats them, or one of them.

Whatever breaks and when: the run ends, with the adapter that the sites which it says took part give; no
site works twice for one attempt or sends two contributions to it; every log is whole.
"""

import json
import os
import secrets
from collections import Counter
from contextlib import ExitStack

import pytest
from processes import Federation
from proxy import Proxy
from schedules import ROUNDS, SITES, Disturbed, draw
from switches import KEEPALIVE

from sealora.client.attempt_file import ATTEMPTS
from sealora.privacy.audit_log import read_records
from sealora.privacy.chain import read_chain
from sealora.simulation.faults import Fault

SEED = int(os.environ.get("SEALORA_SCHEDULE_SEED") or secrets.randbits(31))
COUNT = int(os.environ.get("SEALORA_SCHEDULES") or 100)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(SEED, SEED + COUNT))
def test_a_random_schedule_of_faults_loses_nothing(tmp_path, simulated, seed):
    schedule = draw(seed)
    print(f"SEALORA_SCHEDULE_SEED={seed} SEALORA_SCHEDULES=1", *map(str, schedule), sep="\n  ")
    with ExitStack() as stack:
        federation = stack.enter_context(
            Federation(
                tmp_path / "partners", SITES, 2.0, 10.0, colluders=0, rounds=ROUNDS, deadline=20.0, attempts=4
            )
        )
        federation.environment = {KEEPALIVE: "1"}
        proxies = {site: stack.enter_context(Proxy(federation.port)) for site in federation.names}
        run = Disturbed(federation, proxies)
        run.open()
        run.suffer(schedule)
        result = run.result(restarts=5)
        assert result["sha256"] == simulated(federation.root, missing(federation))["sha256"]
        for site in federation.names:
            if (federation.root / site / "attempts.jsonl").exists():
                require_whole_logs(federation, site)
            else:  # its agent was killed before it had begun
                assert not any(site in record["contributors"] for record in history(federation))
        for process in federation.started:
            assert "Traceback" not in "".join(process.other) or process in run.coordinators


def missing(federation):
    """Who was in the sum of which round, by the coordinator's own account, turned round."""
    assert [record["round"] for record in history(federation)] == list(range(1, ROUNDS + 1))
    return {
        (site, record["round"]): Fault(0)
        for record in history(federation)
        for site in federation.names
        if site not in record["contributors"]
    }


def history(federation):
    """The records of all rounds."""
    return json.loads((federation.root / "run" / "state" / "progress.json").read_text())["history"]


def require_whole_logs(federation, site):
    """No attempt was begun twice, and no attempt had two contributions."""
    home = federation.root / site
    records = [
        json.loads(entry["record"]) for entry, _ in list(read_chain(home / "attempts.jsonl", ATTEMPTS))[1:]
    ]
    begun = Counter((one["work"], *one["counter"]) for one in records if one["kind"] == "begin")
    assert not begun or max(begun.values()) == 1
    contributed = Counter(one["session"] for one in records if one["kind"] == "contribute")
    assert not contributed or max(contributed.values()) == 1
    sent = Counter(record.hash for record in read_records(home / "audit.jsonl") if record.kind == "masked")
    assert not sent or max(sent.values()) == 1
