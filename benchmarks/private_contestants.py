"""Contestants of the privacy benchmark: our DP-SGD, our training without privacy, and Opacus.

All train the same adapter on the same rows, in passes of `MICROBATCH` rows. Opacus's model has its dropout
probabilities set to 0, because our base stays in evaluation mode: all compute the same function.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from torch.utils.data import DataLoader
from training import tokenised
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding

from sealora.client import private_trainer
from sealora.client.private_trainer import MICROBATCH, PrivateTrainer
from sealora.client.self_test import synthetic_examples
from sealora.client.torch_trainer import TorchTrainer
from sealora.models import lora
from sealora.models.adapter import Tensors
from sealora.models.base import describe, load_base, locate
from sealora.models.task import Example, Task
from sealora.plan.loader import Plan
from sealora.privacy.schedule import schedule
from sealora.protocol.keystream import derive_key
from sealora.strategies.strategy import Start

Batches = Sequence[Sequence[int]]
"""Row numbers of each step."""


@dataclass(frozen=True)
class Outcome:
    """CPU seconds of one training call, and the adapter that it left."""

    seconds: float
    tensors: Tensors


Train = Callable[[Sequence[Example], Batches], Outcome]
"""Trains the first adapter on batches of the rows."""


class Ours:
    """PrivateTrainer, as a site calls it in a round; the batches are the given ones."""

    def __init__(self, plan: Plan, task: Task) -> None:
        base = load_base(plan.model, task)
        inner = TorchTrainer(base, task, plan.lora, plan.training, rounds=1)
        self._initial = first_adapter(plan)
        self._trainer = PrivateTrainer(
            inner,
            plan.privacy,
            schedule(plan.privacy, plan.training.epochs, rounds=1),
            plan.training.microbatch_size,
            synthetic_examples(task, len(base.tokenizer)),
        )

    def train(self, rows: Sequence[Example], batches: Batches) -> Outcome:
        with patch.object(private_trainer, "poisson_sample", side_effect=list(batches)):
            start = time.process_time()
            trained = self._trainer.train(Start(self._initial), list(self._initial), rows, 1, bytes(32))
            return Outcome(time.process_time() - start, trained.tensors)


class Unprotected:
    """TorchTrainer on the rows of all batches, in batches of its own."""

    def __init__(self, plan: Plan, task: Task) -> None:
        base = load_base(plan.model, task)
        self._initial = first_adapter(plan)
        self._trainer = TorchTrainer(base, task, plan.lora, plan.training, rounds=1)

    def train(self, rows: Sequence[Example], batches: Batches) -> Outcome:
        drawn = [rows[row] for batch in batches for row in batch]
        key = derive_key("benchmark/privacy", len(drawn))
        start = time.process_time()
        trained = self._trainer.train(Start(self._initial), list(self._initial), drawn, 1, key)
        return Outcome(time.process_time() - start, trained.tensors)


class Opacus:
    """PrivacyEngine on a PEFT model, as its documentation shows for large logical batches."""

    def __init__(self, plan: Plan, mode: str) -> None:
        self._plan, self._mode = plan, mode
        self._initial = first_adapter(plan)
        self._model = _peft_model(plan)
        self._collator = DataCollatorWithPadding(AutoTokenizer.from_pretrained(locate(plan.model)))
        torch.set_num_threads(plan.training.threads)

    def train(self, rows: Sequence[Example], batches: Batches) -> Outcome:
        """Building the engine and the data set is not timed."""
        # Imported here, so that a process that measures our memory does without.
        from opacus import PrivacyEngine

        lora.write(self._model, self._initial)
        parameters = list(lora.parameters_of(self._model).values())
        engine = PrivacyEngine(accountant="prv")
        model, optimizer, *criterion, loader = engine.make_private(
            module=self._model,
            optimizer=torch.optim.SGD(parameters, lr=self._plan.training.learning_rate),
            criterion=torch.nn.CrossEntropyLoss(),
            data_loader=DataLoader(tokenised(rows), batch_sampler=batches, collate_fn=self._collator),
            noise_multiplier=self._plan.privacy.noise_multiplier,
            max_grad_norm=self._plan.privacy.clipping_norm,
            poisson_sampling=False,  # the batches are drawn already
            grad_sample_mode=self._mode,
        )
        start = time.process_time()
        _train_privately(model, optimizer, criterion[0] if criterion else torch.nn.CrossEntropyLoss(), loader)
        seconds = time.process_time() - start
        _check_history(engine.accountant.history, self._plan)
        model.to_standard_module()
        return Outcome(seconds, lora.read(self._model))


def build(name: str, plan: Plan, task: Task) -> Train:
    """One of `CONTESTANTS`, ready to train."""
    if name == "ours":
        return Ours(plan, task).train
    if name == "nonprivate":
        return Unprotected(plan, task).train
    return Opacus(plan, name.removeprefix("opacus_")).train


CONTESTANTS = ("ours", "nonprivate", "opacus_hooks", "opacus_ghost")


def first_adapter(plan: Plan) -> Tensors:
    return lora.initial_adapter(describe(plan.model, plan.lora, plan.task), plan.seed).tensors


def _peft_model(plan: Plan) -> PeftModel:
    base = AutoModelForSequenceClassification.from_pretrained(
        locate(plan.model),
        num_labels=len(plan.task.labels),
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    adapter = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=plan.lora.rank,
        lora_alpha=plan.lora.alpha,
        target_modules=list(plan.lora.target_modules),
    )
    return get_peft_model(base, adapter).train()  # its hooks work in training mode only


def _train_privately(model: Any, optimizer: Any, criterion: Any, loader: Any) -> None:
    from opacus.utils.batch_memory_manager import BatchMemoryManager

    with BatchMemoryManager(
        data_loader=loader, max_physical_batch_size=MICROBATCH, optimizer=optimizer
    ) as passes:
        for batch in passes:
            targets = batch.pop("labels")
            criterion(model(**batch).logits, targets).backward()
            optimizer.step()
            optimizer.zero_grad()


def _check_history(history: Sequence[tuple[float, float, int]], plan: Plan) -> None:
    """Raises RuntimeError unless Opacus accounts for the releases that the plan makes."""
    promise = plan.privacy
    expected = [(promise.noise_multiplier, promise.sampling_rate, promise.steps_of(plan.training.epochs))]
    if history != expected:
        raise RuntimeError(f"the events differ: {history} in Opacus, {expected} here")
