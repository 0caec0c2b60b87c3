"""A whole run over partner sites, seen from the coordinator: from a plan to a run folder."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from peft import PeftModel

from sealora.client.torch_trainer import TorchTrainer
from sealora.models import lora
from sealora.models.adapter import Tensors
from sealora.models.base import base_hash, load_base
from sealora.models.task import Counts, Example, load_task
from sealora.plan.loader import Plan
from sealora.plan.logs import Log
from sealora.run import Run
from sealora.server.federation_folder import FederationFolder
from sealora.server.grpc_fleet import FleetSettings
from sealora.server.metrics_log import EventLog, MetricsLog
from sealora.server.recorder import Recorder
from sealora.server.result import build_result
from sealora.server.service import Keys, RunParts, Service
from sealora.server.state_lock import StateLock
from sealora.server.store import CheckpointStore
from sealora.simulation.privacy import public_examples
from sealora.simulation.run_folder import RunFolder
from sealora.simulation.simulate import versions
from sealora.strategies.registry import load_strategy


def coordinate(
    plan: Plan,
    federation: FederationFolder,
    state: Path,
    fleet: FleetSettings,
    log: Log,
    passphrase: bytes | None = None,
    metrics_port: int | None = None,
) -> Run:
    """Run a plan over a federation's sites, or go on with the run that `state` holds; returns it finished.

    Raises: UsageError or RefusedError before anything is started, RunError if a round cannot be
    completed; finished rounds are then kept, and the same call goes on after them.
    """
    keys = Keys(federation.identity(passphrase), federation.credentials(passphrase, datetime.now(UTC)))
    with StateLock(state):
        given, (plan, parts, model) = plan, assemble(plan)
        folder = _folder(state, given)
        recorder = Recorder()
        observers = (recorder, MetricsLog(state / "metrics.jsonl"), EventLog(state / "events.jsonl"))
        service = Service(parts, federation, keys, state, fleet, log, metrics_port)
        adapter, evaluated = service.run(observers)
        lora.save(adapter, model, folder.adapter)
        result = build_result(plan, parts.task, adapter, recorder, evaluated, versions())
        folder.write_json("result.json", result)
    return Run.load(state)


def _folder(state: Path, plan: Plan) -> RunFolder:
    """The run's folder, with the plan of its checkpoint; while it has none, nobody was asked for anything.

    Raises UsageError if the folder holds something else.
    """
    if not (state / "run.json").exists():
        return RunFolder.create(state, plan, versions())
    folder = RunFolder.open(state)
    if CheckpointStore(folder.state).load() is None:
        folder.write_plan(plan)  # the one before may have kept the first start from succeeding
    return folder


def assemble(plan: Plan) -> tuple[Plan, RunParts, PeftModel]:
    """The plan bound to its model, the parts of a run, and the model, which saves the adapter.

    Raises ModelError if the model cannot be had.
    """
    task = load_task(plan.task)
    base = load_base(plan.model, task)
    bound = plan.with_model_hash(base_hash(base))  # before the trainer adds its adapter to the base
    trainer = TorchTrainer(base, task, plan.lora, plan.training, plan.rounds.count)
    measure: Callable[[Tensors], Mapping[str, Counts]] | None = None
    if plan.privacy.private and plan.privacy.metrics == "public":
        examples = public_examples(plan, task, base)
        measure = partial(_measure, trainer, examples)
    initial = lora.initial_adapter(trainer.layout, plan.seed)
    parts = RunParts(bound, bytes.fromhex(bound.hash), task, load_strategy(plan.strategy), initial, measure)
    return bound, parts, trainer.model


def _measure(trainer: TorchTrainer, examples: Sequence[Example], tensors: Tensors) -> Mapping[str, Counts]:
    return trainer.evaluate(tensors, examples)
