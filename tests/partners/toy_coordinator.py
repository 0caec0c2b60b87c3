"""A coordinator of the toy federation: `toy_coordinator.py ROOT PORT PATIENCE ANSWER_SECONDS`."""

import json
import sys
from datetime import UTC
from pathlib import Path

import toy_plan
from parties import Parties
from switches import shorten_keepalive, wrong_clock

from sealora.models.adapter import Adapter
from sealora.plan.logs import Log
from sealora.server import service
from sealora.server.grpc_fleet import FleetSettings
from sealora.server.service import Keys, RunParts, Service
from sealora.server.state_lock import StateLock
from sealora.simulation.toy import LAYOUT, tensors_of


def main(root: Path, port: int, patience: float, answer_seconds: float) -> None:
    shorten_keepalive()
    federation = Parties(root).federation()
    clock = service.datetime = wrong_clock(federation.path)
    _, plan = toy_plan.read(root)
    contract = toy_plan.contract_of(plan)
    initial = Adapter(LAYOUT, tensors_of("start", scale=0.1))
    with StateLock(root / "run"):
        running = Service(
            RunParts(plan, contract.plan_hash, contract.task, contract.strategy, initial),
            federation,
            Keys(federation.identity(None), federation.credentials(None, clock.now(UTC))),
            root / "run",
            FleetSettings(f"127.0.0.1:{port}", patience, answer_seconds),
            Log("coordinator"),
        )
        adapter, evaluated = running.run()
    print(json.dumps({"sha256": adapter.sha256(), "metrics": evaluated.metrics}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *map(float, sys.argv[3:5]))
