"""Local training with torch: one readable loop around a frozen base and a small adapter.

The base stays in evaluation mode (its dropout off; `lora.dropout` is the regulariser), computes
no gradients for itself, and is shared by every adapter that is written into the model in turn.
"""

import copy
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import numpy as np
import torch
from peft import PeftModel

from sealora.client.batches import shuffled_batches, sorted_batches
from sealora.client.frozen_layers import FrozenLayers
from sealora.client.packing_check import check_packing
from sealora.client.references import References
from sealora.client.schedule import learning_rate
from sealora.models import checkpointing, lora
from sealora.models.adapter import AdapterLayout, Tensors
from sealora.models.base import Base
from sealora.models.batch import Batch
from sealora.models.settings import LoraSettings, TrainingSettings
from sealora.models.task import Counts, Example, Referring, Task
from sealora.protocol.errors import RunError
from sealora.strategies.strategy import GradientTerm, Start, Trained

EVALUATION_BATCH = 32


class TorchTrainer:
    """Trains and evaluates adapters on one base model."""

    def __init__(
        self, base: Base, task: Task, lora_settings: LoraSettings, settings: TrainingSettings, rounds: int
    ) -> None:
        self._base = base
        self._task = task
        self._settings = settings
        self._rounds = rounds
        self._stopped = threading.Event()
        self._class_bias: torch.Tensor | None = None
        self._draws = bytes(32)
        self._references = References()
        self._remembered: dict[bytes, torch.Tensor] = {}
        if settings.gradient_checkpointing:
            checkpointing.enable(base.model)
        self._adopt(lora.attach(base.model, lora_settings, task.card.head).to(base.device))
        self._layout = lora.layout_of(self.model)
        torch.set_num_threads(settings.threads)
        check_packing(
            task,
            lambda examples, packed: self._collate(examples, self._draws, packed),
            self._losses,
            exact=base.autocast is None and base.model.dtype == torch.float32,
        )

    def _adopt(self, model: PeftModel) -> None:
        self.model = model
        self._dropout = lora.seed_dropout(model, self._base.device)
        keep = self._settings.cache_frozen_layers
        self._frozen = FrozenLayers(model, self._remembered) if keep else None

    def replica(self) -> "TorchTrainer":
        """A trainer for another thread: its own adapter on the same frozen base, in the same memory."""
        other = copy.copy(self)
        frozen = {id(tensor): tensor for tensor in lora.frozen_tensors(self.model)}
        other._adopt(copy.deepcopy(self.model, frozen))
        return other

    def stop(self) -> None:
        """Make this trainer and its replicas raise RunError at their next batch, for good."""
        self._stopped.set()

    @property
    def layout(self) -> AdapterLayout:
        """The adapter's tensors."""
        return self._layout

    @property
    def tokenizer(self) -> Any:
        """See Reader."""
        return self._base.tokenizer

    @property
    def sequences(self) -> int:
        """Rows that an example has in a batch where examples are kept apart."""
        return self._task.card.sequences

    def train(
        self, start: Start, trains: Sequence[str], examples: Sequence[Example], round_number: int, seed: bytes
    ) -> Trained:
        """See Trainer. `seed` (32 bytes) decides the order of the rows, any dropout and any masking."""
        trained = self.prepare(start.tensors, trains, seed)
        self._class_bias = self._bias_of(examples)
        optimizer = self.optimizer(list(trained.values()))
        generator = np.random.default_rng(list(seed))
        total, rows, path = torch.zeros((), dtype=torch.float64), 0, 0.0
        batches = list(self._epochs(examples, generator))
        for step, batch in enumerate(batches):
            path += self.set_step_size(optimizer, round_number, step / len(batches))
            total += self._accumulate([examples[row] for row in batch])
            rows += len(batch)
            if start.gradient_term is not None:
                add_gradients(trained, start.gradient_term)
            if self._settings.max_gradient_norm:
                torch.nn.utils.clip_grad_norm_(trained.values(), self._settings.max_gradient_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.model.eval()
        return Trained(lora.read(self.model), float(total), rows, len(batches), path / max(len(batches), 1))

    def evaluate(self, tensors: Tensors, examples: Sequence[Example]) -> dict[str, Counts]:
        """See Trainer."""
        sums = {part.name: np.zeros(part.length, dtype=np.int64) for part in self._task.sums()}
        for _, outputs, targets in self._measured(tensors, examples):
            for name, counts in self._task.count(outputs, targets).items():
                sums[name] += counts
        return sums

    def rows(self, tensors: Tensors, examples: Sequence[Example]) -> Iterator[tuple[int, dict[str, Counts]]]:
        """See Trainer. Examples are not packed: what one adds must not depend on those beside it."""
        for rows, outputs, targets in self._measured(tensors, examples, packed=False):
            for place, row in enumerate(rows):
                one = slice(place, place + 1)
                yield row, self._task.count(outputs[one], targets[one])

    def predict(self, tensors: Tensors, examples: Sequence[Example]) -> list[dict[str, Any]]:
        """The task's prediction for each example, in their order."""
        predictions: list[dict[str, Any]] = [{}] * len(examples)
        for rows in self._sorted(tensors, examples):
            found = self._task.predict(self, [examples[row] for row in rows])
            for row, prediction in zip(rows, found, strict=True):
                predictions[row] = prediction
        return predictions

    def outputs(self, examples: Sequence[Example]) -> torch.Tensor:
        """See Reader."""
        return self._measure(examples)[0]

    def prepare(self, tensors: Tensors, trains: Sequence[str], seed: bytes) -> dict[str, torch.nn.Parameter]:
        """Write an adapter into the model, ready to train; returns the parameters of these names."""
        lora.write(self.model, tensors)
        parameters = lora.parameters_of(self.model)
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in trains)
            parameter.grad = None
        self._dropout.manual_seed(int.from_bytes(seed[:8], "big"))
        self._draws = seed
        self.model.eval()
        checkpointing.begin(self.model)
        for name, module in self.model.named_modules():
            if name.endswith("lora_dropout"):
                module.train()
        return {name: parameters[name] for name in trains}

    def optimizer(self, parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """A fresh optimiser of the plan's kind."""
        settings = self._settings
        if settings.optimizer == "sgd":
            return torch.optim.SGD(parameters, momentum=settings.momentum, weight_decay=settings.weight_decay)
        return torch.optim.AdamW(parameters, weight_decay=settings.weight_decay)

    def set_step_size(self, optimizer: torch.optim.Optimizer, round_number: int, share: float) -> float:
        """Set the step size for when the share of this round's steps is done, and return it.

        Raises RunError once `stop` was called: every step begins here.
        """
        self._check_stopped()
        size = learning_rate(self._settings, (round_number - 1 + share) / self._rounds)
        for group in optimizer.param_groups:
            group["lr"] = size
        return size

    def losses(self, examples: Sequence[Example]) -> torch.Tensor:
        """The training loss of each example, shape (examples,), with its graph.

        Each example has rows of its own in the batch, so that single gradients can be told apart.
        """
        return self._losses(self._collate(examples, self._draws, packed=False))

    def _losses(self, batch: Batch) -> torch.Tensor:
        outputs = self._forward(batch)
        if self._class_bias is not None:
            outputs = outputs.float() + self._class_bias
        return self._task.losses(outputs, batch.targets)

    def _bias_of(self, examples: Sequence[Example]) -> torch.Tensor | None:
        strength = self._settings.label_calibration
        if not strength:
            return None
        return strength * self._task.class_bias([e.target for e in examples]).to(self._base.device)

    def _epochs(self, examples: Sequence[Example], generator: np.random.Generator) -> Iterator[list[int]]:
        lengths = [example.length for example in examples]
        for _ in range(self._settings.epochs):
            yield from shuffled_batches(lengths, self._settings.batch_size, generator)

    def _accumulate(self, batch: Sequence[Example]) -> torch.Tensor:
        """Add the gradient of the batch's mean loss by weight, microbatch by microbatch.

        Returns the examples' summed loss, unweighted.
        """
        size = self._settings.microbatch_size or len(batch)
        weight = sum(example.weight for example in batch)
        total = torch.zeros((), dtype=torch.float64)
        for start in range(0, len(batch), size):
            part = batch[start : start + size]
            losses = self._losses(self._collate(part, self._draws, packed=True))
            weights = torch.tensor([example.weight for example in part], device=losses.device)
            ((losses * weights).sum() / weight).backward()  # type: ignore[no-untyped-call]
            total += losses.detach().sum().double().cpu()
        return total

    def _sorted(self, tensors: Tensors, examples: Sequence[Example]) -> Iterator[list[int]]:
        """All rows in batches of like lengths, with the adapter written and no gradients kept."""
        lora.write(self.model, tensors)
        self.model.eval()
        with torch.inference_mode():
            for rows in sorted_batches([example.length for example in examples], EVALUATION_BATCH):
                self._check_stopped()
                yield rows

    def _measured(
        self, tensors: Tensors, examples: Sequence[Example], packed: bool = True
    ) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
        """Row numbers, outputs and targets of all rows."""
        for rows in self._sorted(tensors, examples):
            yield rows, *self._measure([examples[row] for row in rows], packed)

    def _measure(self, examples: Sequence[Example], packed: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs and targets on the CPU; whatever is drawn is always the same."""
        batch = self._collate(examples, bytes(32), packed)
        return self._forward(batch).float().cpu(), batch.targets.cpu()

    def _collate(self, examples: Sequence[Example], seed: bytes, packed: bool) -> Batch:
        known = [self._referred(example) for example in examples] if self._task.card.reference else examples
        return self._task.collate(known, self._base.tokenizer, seed, packed).to(self._base.device)

    def _referred(self, example: Example) -> Example:
        """The example with what the base alone makes of it, computed when it is first met.

        Each is computed by itself, for what a batch gives depends a little on who else is in it.
        """
        task = cast(Referring, self._task)

        def compute() -> torch.Tensor:
            batch = task.collate([example], self._base.tokenizer, bytes(32), packed=False)
            with torch.no_grad(), lora.switched_off(self.model):
                return self._forward(batch.to(self._base.device))[0].float().cpu()

        return task.refer(example, self._references.of(example, compute))

    def _forward(self, batch: Batch) -> torch.Tensor:
        with self._autocast(), self._frozen.skipped(batch) if self._frozen else nullcontext():
            return self._task.forward(self.model, batch)

    def _check_stopped(self) -> None:
        if self._stopped.is_set():
            raise RunError("the training was stopped.")

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._base.autocast is None:
            return nullcontext()
        return torch.autocast(self._base.device.type, dtype=self._base.autocast)


def add_gradients(trained: dict[str, torch.nn.Parameter], term: GradientTerm) -> None:
    """Add a strategy's gradient term to the loss gradients."""
    current = {name: parameter.detach().float().cpu().numpy() for name, parameter in trained.items()}
    for name, gradient in term(current).items():
        parameter = trained[name]
        if parameter.grad is not None:
            parameter.grad += torch.from_numpy(np.array(gradient)).to(parameter.grad)
