"""Local training, beside transformers.Trainer with PEFT as an ordinary user writes it.

    python benchmarks/training.py [--quick]

Same base, LoRA matrices, first values, rows, batch size, learning rate, optimiser steps and threads.
Measured is the training call alone, in real (not padding) tokens a second. Trainer comes in three
variants: `dynamic` pads each batch to its longest row, `max_length` pads every row to the plan's
longest length, `grouped` pads as `dynamic` and lets Trainer draw rows of like length together.
The full form also trains each longer, equally long, and compares accuracy on rows held out.
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import causal_training
import datasets
from pairs import Spread, interleave, json_line, machine, ratios, table
from peft import LoraConfig, TaskType, get_peft_model
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)
from transformers.utils import logging as transformers_logging

from sealora.client.torch_trainer import TorchTrainer
from sealora.models import lora
from sealora.models.adapter import Tensors
from sealora.models.base import load_base, locate
from sealora.models.site_data import prepare
from sealora.models.table import read_table, seeded_order
from sealora.models.task import Example, Task, load_task
from sealora.plan.loader import Plan, load
from sealora.protocol.keystream import derive_key
from sealora.strategies.strategy import Start

EXAMPLE = Path(__file__).parents[1] / "examples" / "sentiment" / "plan.toml"
TRAINING = {"epochs": 1, "batch_size": 16, "schedule": "constant", "label_calibration": 0.0}
VARIANTS: dict[str, dict[str, Any]] = {
    "dynamic": {"padding": "longest", "sampling": "random"},
    "max_length": {"padding": "max_length", "sampling": "random"},
    "grouped": {"padding": "longest", "sampling": "group_by_length"},
}


@dataclass(frozen=True)
class Timed:
    """Wall-clock seconds of one training call, and the adapter that it left."""

    seconds: float
    tensors: Tensors


Train = Callable[[Sequence[Example], int], Timed]
"""Trains the first adapter on rows, in an order that the seed decides."""


class Ours:
    """TorchTrainer, as a site calls it in a round."""

    def __init__(self, plan: Plan, task: Task) -> None:
        self.base = load_base(plan.model, task)
        self._task = task
        self._trainer = TorchTrainer(self.base, task, plan.lora, plan.training, rounds=1)
        self.initial = lora.initial_adapter(self._trainer.layout, plan.seed).tensors

    def train(self, rows: Sequence[Example], seed: int) -> Timed:
        """One training of `plan.training.epochs`."""
        key = derive_key("benchmark/training", seed)
        start = time.perf_counter()
        trained = self._trainer.train(Start(self.initial), list(self.initial), rows, 1, key)
        return Timed(time.perf_counter() - start, trained.tensors)

    def accuracy(self, tensors: Tensors, rows: Sequence[Example]) -> float:
        """Share of rows that this adapter classifies rightly."""
        sums = self._trainer.evaluate(tensors, rows)
        return self._task.metrics({name: counts.astype(float) for name, counts in sums.items()})["accuracy"]


class OrdinaryTrainer:
    """transformers.Trainer on a PEFT model: defaults, but for what must be equal on both sides."""

    def __init__(self, plan: Plan, initial: Tensors, padding: str, sampling: str, folder: str) -> None:
        source = locate(plan.model)
        self._initial = initial
        self._model = get_peft_model(
            AutoModelForSequenceClassification.from_pretrained(source, num_labels=len(plan.task.labels)),
            LoraConfig(
                task_type=TaskType.SEQ_CLS,
                r=plan.lora.rank,
                lora_alpha=plan.lora.alpha,
                target_modules=list(plan.lora.target_modules),
            ),
        )
        self._collator = DataCollatorWithPadding(
            AutoTokenizer.from_pretrained(source), padding=padding, max_length=plan.task.max_length
        )
        self._arguments = {
            "output_dir": folder,
            "per_device_train_batch_size": plan.training.batch_size,
            "num_train_epochs": plan.training.epochs,
            "learning_rate": plan.training.learning_rate,
            "lr_scheduler_type": plan.training.schedule,
            "train_sampling_strategy": sampling,
            "save_strategy": "no",
            "report_to": [],
            "disable_tqdm": True,
        }

    def train(self, rows: Sequence[Example], seed: int) -> Timed:
        """One training; building the Trainer and its data set is not timed."""
        lora.write(self._model, self._initial)
        trainer = Trainer(
            model=self._model,
            args=TrainingArguments(seed=seed, **self._arguments),
            train_dataset=tokenised(rows),
            data_collator=self._collator,
        )
        trainer.remove_callback(PrinterCallback)
        start = time.perf_counter()
        trainer.train()
        return Timed(time.perf_counter() - start, lora.read(self._model))


def tokenised(rows: Sequence[Example]) -> datasets.Dataset:
    """Rows as a mapped tokeniser leaves them, without padding."""
    return datasets.Dataset.from_dict(
        {
            "input_ids": [list(row.tokens) for row in rows],
            "attention_mask": [[1] * len(row.tokens) for row in rows],
            "labels": [row.target for row in rows],
        }
    )


def contestants(plan: Plan, task: Task, folder: str) -> tuple[Ours, dict[str, Train]]:
    """Ours, and every contestant's training by name."""
    ours = Ours(plan, task)
    trainings: dict[str, Train] = {"ours": ours.train}
    for name, options in VARIANTS.items():
        trainings[name] = OrdinaryTrainer(plan, ours.initial, **options, folder=folder).train
    return ours, trainings


def read_rows(plan: Plan, task: Task, ours: Ours) -> tuple[list[Example], list[Example]]:
    """All reviews as (rows to train on, in an order drawn once, rows held out)."""
    data = prepare(
        read_table(plan.data, task.card.columns(plan.data)),
        task,
        ours.base.tokenizer,
        plan.data,
        plan.seed,
        "benchmark",
    )
    order = seeded_order(len(data.train), "benchmark", plan.seed)
    return [data.train[row] for row in order], data.test


def speeds(trainings: Mapping[str, Train], rows: list[Example], pairs: int) -> dict[str, list[float]]:
    """Real tokens a second of every contestant in every pair, after one unmeasured call of each."""
    for train in trainings.values():
        train(rows[:32], 0)
    tokens = sum(len(row.tokens) for row in rows)
    timed = interleave({name: _timing(train, rows) for name, train in trainings.items()}, pairs)
    return {name: [tokens / seconds for seconds in times] for name, times in timed.items()}


def _timing(train: Train, rows: list[Example]) -> Callable[[int], float]:
    return lambda pair: train(rows, pair + 1).seconds


def accuracies(
    plan: Plan, task: Task, rows: list[Example], held_out: list[Example], seeds: int, folder: str
) -> dict[str, list[float]]:
    """Accuracy on the rows held out of every contestant, for every seed, after the plan's epochs."""
    ours, trainings = contestants(plan, task, folder)

    def judged(train: Train) -> Callable[[int], float]:
        return lambda seed: ours.accuracy(train(rows, seed + 1).tensors, held_out)

    return interleave({name: judged(train) for name, train in trainings.items()}, seeds)


def report(found: Mapping[str, list[float]], judged: Mapping[str, list[float]]) -> dict[str, float]:
    """Print the table; returns the figures by name."""
    figures: dict[str, float] = {}
    lines = []
    for name, speed in found.items():
        figures[f"real_tokens_per_second_{name}"] = Spread.of(speed).median
        against = Spread.of(ratios(found["ours"], speed))
        if name != "ours":
            figures[f"ratio_vs_trainer_{name}"] = against.median
        if name in judged:
            figures[f"accuracy_{name}"] = Spread.of(judged[name]).median
        accuracy = Spread.of(judged[name]).text(4) if name in judged else "not measured"
        lines.append((name, Spread.of(speed).text(0), "–" if name == "ours" else against.text(2), accuracy))
    print(table(("contestant", "real tokens/s", "ours over it", "accuracy"), lines))
    return figures


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Local training beside transformers.Trainer with PEFT.")
    parser.add_argument("--quick", action="store_true", help="two pairs of 160 rows, no accuracy")
    parser.add_argument("--rows", type=int, help="training rows of one measured call (800; quick 160)")
    parser.add_argument("--pairs", type=int, help="measured calls of each contestant (5; quick 2)")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch (2)")
    parser.add_argument("--accuracy-rows", type=int, help="rows to train on for accuracy (3000; quick 0)")
    parser.add_argument("--accuracy-epochs", type=int, default=3, help="passes over them (3)")
    parser.add_argument("--accuracy-seeds", type=int, default=1, help="trainings of each contestant (1)")
    parser.add_argument("--workload", choices=("all", "classification", "causal"), default="all")
    parser.add_argument(
        "--causal-rows", type=int, help="rows of a causal model's measured call (32; quick 16)"
    )
    chosen = parser.parse_args()
    defaults = (160, 2, 0, 16) if chosen.quick else (800, 5, 3000, 32)
    for name, value in zip(("rows", "pairs", "accuracy_rows", "causal_rows"), defaults, strict=True):
        if getattr(chosen, name) is None:
            setattr(chosen, name, value)
    return chosen


def main() -> None:
    chosen = options()
    warnings.simplefilter("ignore")  # third parties' deprecations, which would tear the table apart
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    print(machine())
    figures: dict[str, float] = {}
    if chosen.workload != "causal":
        figures |= classification(chosen)
    if chosen.workload != "classification":
        print(f"{chosen.causal_rows} rows, {chosen.pairs} pairs: instruction tuning of a causal model")
        figures |= causal_training.compare(chosen.causal_rows, chosen.pairs, chosen.threads)
    print(json_line("training", figures))


def classification(chosen: argparse.Namespace) -> dict[str, float]:
    """Speed and accuracy of a classifier's training."""
    example = load(EXAMPLE)
    # All reviews, half of them held out: the accuracy of few rows says little.
    data = {"rows": 0, "test_fraction": 0.5}
    plan = example.replace(
        data=data,
        training={**TRAINING, "threads": chosen.threads},
    )
    task = load_task(plan.task)
    with tempfile.TemporaryDirectory() as folder:
        ours, trainings = contestants(plan, task, folder)
        rows, held_out = read_rows(plan, task, ours)
        if max(chosen.rows, chosen.accuracy_rows) > len(rows):
            raise SystemExit(f"there are only {len(rows)} rows to train on: choose fewer.")
        found = speeds(trainings, rows[: chosen.rows], chosen.pairs)
        judged: dict[str, list[float]] = {}
        if chosen.accuracy_rows:
            longer = plan.replace(training={"epochs": chosen.accuracy_epochs})
            subset = rows[: chosen.accuracy_rows]
            judged = accuracies(longer, task, subset, held_out, chosen.accuracy_seeds, folder)
    print(f"{chosen.rows} rows of {len(rows)}, {chosen.pairs} pairs; {len(held_out)} rows held out")
    return report(found, judged)


if __name__ == "__main__":
    main()
