"""Instruction tuning beside transformers.Trainer: packed rows against padded ones. For training.py."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import torch
from pairs import Spread, interleave, ratios, table
from peft import LoraConfig, TaskType, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    DataCollatorForSeq2Seq,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

from sealora.client.torch_trainer import TorchTrainer
from sealora.models import lora
from sealora.models.adapter import Tensors
from sealora.models.base import load_base, locate
from sealora.models.site_data import prepare
from sealora.models.table import draw_rows, read_table
from sealora.models.task import Example, load_task
from sealora.models.token_scores import LEFT_OUT
from sealora.plan.loader import Plan, load
from sealora.protocol.keystream import derive_key
from sealora.strategies.strategy import Start

EXAMPLE = Path(__file__).parents[1] / "examples" / "chat" / "plan.toml"
TRAINING = {"epochs": 1, "batch_size": 16, "schedule": "constant"}


class Packed:
    """TorchTrainer, as a site calls it in a round."""

    def __init__(self, plan: Plan) -> None:
        self.task = load_task(plan.task)
        self.base = load_base(plan.model, self.task)
        self._trainer = TorchTrainer(self.base, self.task, plan.lora, plan.training, rounds=1)
        self.initial = lora.initial_adapter(self._trainer.layout, plan.seed).tensors

    def rows(self, plan: Plan, count: int) -> list[Example]:
        """Training rows of the example's conversations."""
        settings = plan.data.model_copy(update={"test_fraction": 0.1})
        found = draw_rows(read_table(settings, self.task.card.columns(settings)), 2 * count, plan.seed)
        return prepare(found, self.task, self.base.tokenizer, settings, plan.seed, "benchmark").train[:count]

    def seconds(self, rows: Sequence[Example], seed: int) -> float:
        """Wall-clock time of one training."""
        key = derive_key("benchmark/training", seed)
        start = time.perf_counter()
        self._trainer.train(Start(self.initial), list(self.initial), rows, 1, key)
        return time.perf_counter() - start

    def loss(self, rows: Sequence[Example], tensors: Tensors) -> float:
        """Loss by token of an adapter."""
        sums = self._trainer.evaluate(tensors, rows)
        return self.task.metrics({name: counts.astype(float) for name, counts in sums.items()})["loss"]


class Padded:
    """transformers.Trainer on a PEFT model, each batch padded to its longest row."""

    def __init__(self, plan: Plan, ours: Packed, folder: str) -> None:
        self._initial = ours.initial
        self._model = get_peft_model(
            AutoModelForCausalLM.from_pretrained(locate(plan.model), dtype=torch.float32),
            LoraConfig(
                task_type=TaskType.CAUSAL_LM,
                r=plan.lora.rank,
                lora_alpha=plan.lora.alpha,
                target_modules=["q_proj", "v_proj"],
            ),
        )
        self._collator = DataCollatorForSeq2Seq(ours.base.tokenizer, padding="longest")
        self._arguments: dict[str, Any] = {
            "output_dir": folder,
            "per_device_train_batch_size": plan.training.batch_size,
            "num_train_epochs": plan.training.epochs,
            "learning_rate": plan.training.learning_rate,
            "lr_scheduler_type": plan.training.schedule,
            "save_strategy": "no",
            "report_to": [],
            "disable_tqdm": True,
        }

    def seconds(self, rows: Sequence[Example], seed: int) -> float:
        """Wall-clock time of one training; building the Trainer and its data set is not timed."""
        lora.write(self._model, self._initial)
        trainer = Trainer(
            model=self._model,
            args=TrainingArguments(seed=seed, **self._arguments),
            train_dataset=labelled(rows),
            data_collator=self._collator,
        )
        trainer.remove_callback(PrinterCallback)
        start = time.perf_counter()
        trainer.train()
        return time.perf_counter() - start

    @torch.no_grad()
    def loss(self, rows: Sequence[Example], tensors: Tensors) -> float:
        """Loss by token of an adapter, as transformers computes it from labels."""
        lora.write(self._model, tensors)
        self._model.eval()
        total = 0.0
        for row in rows:
            batch = self._collator([labelled([row])[0]])
            total += float(self._model(**batch).loss) * len(row.target)
        return total / sum(len(row.target) for row in rows)


def labelled(rows: Sequence[Example]) -> datasets.Dataset:
    """Rows with labels at the tokens that are learnt."""

    def labels(row: Example) -> list[int]:
        learnt = set(row.target)
        return [token if place in learnt else LEFT_OUT for place, token in enumerate(row.tokens)]

    return datasets.Dataset.from_dict(
        {
            "input_ids": [list(row.tokens) for row in rows],
            "attention_mask": [[1] * len(row.tokens) for row in rows],
            "labels": [labels(row) for row in rows],
        }
    )


def compare(rows_count: int, pairs: int, threads: int) -> dict[str, float]:
    """Print the table; returns the figures by name."""
    plan = load(EXAMPLE).replace(training={**TRAINING, "threads": threads}, data={"rows": 0})
    with tempfile.TemporaryDirectory() as folder:
        ours = Packed(plan)
        padded = Padded(plan, ours, folder)
        rows = ours.rows(plan, rows_count)
        contestants = {"causal": ours.seconds, "trainer_causal": padded.seconds}
        for seconds in contestants.values():
            seconds(rows[:16], 0)
        timed = interleave(
            {name: lambda pair, run=run: run(rows, pair + 1) for name, run in contestants.items()}, pairs
        )
        losses = {"causal": ours.loss(rows, ours.initial), "trainer_causal": padded.loss(rows, ours.initial)}
    tokens = sum(len(row.tokens) for row in rows)
    speed = {name: [tokens / seconds for seconds in times] for name, times in timed.items()}
    against = Spread.of(ratios(speed["causal"], speed["trainer_causal"]))
    lines = [
        (name, Spread.of(found).text(0), f"{losses[name]:.4f}", against.text(2) if name != "causal" else "–")
        for name, found in speed.items()
    ]
    print(table(("contestant", "real tokens/s", "loss by token before", "ours over it"), lines))
    return {
        "ratio_vs_trainer_causal": against.median,
        **{f"real_tokens_per_second_{name}": Spread.of(found).median for name, found in speed.items()},
        **{f"loss_by_token_{name}": round(loss, 5) for name, loss in losses.items()},
    }
