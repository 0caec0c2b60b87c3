"""The Flower side of simulation.py: an app as Flower's language-model examples write it.

Every call of a client builds the model with `from_pretrained` and `get_peft_model`, sets the
parameters received, runs `transformers.Trainer` and returns the adapter; the server averages. The
module is imported by name in every actor, so that its caches last as long as the actor does.
"""

import json
import sys
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import datasets
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from peft import (
    LoraConfig,
    PeftModel,
    TaskType,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from safetensors.torch import load_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)
from transformers.utils import logging as transformers_logging

CORES = 2
EVALUATION_BATCH = 32

client_app = ClientApp()


class AllReply(FedAvg):
    """FedAvg that stops the run at the first failure, where Flower would go on with the others."""

    def aggregate_train(self, server_round: int, replies: Any) -> Any:
        received = list(replies)
        for reply in received:
            if reply.has_error():
                raise RuntimeError(f"a client failed: {reply.error.reason}")
        if len(received) < self.min_train_nodes:
            raise RuntimeError(f"only {len(received)} of {self.min_train_nodes} clients replied")
        return super().aggregate_train(server_round, received)


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """One round at one client."""
    config = message.content["config"]
    folder, site = str(config["folder"]), int(context.node_config["partition-id"])
    torch.set_num_threads(int(config["threads"]))
    settings, rows = workload(folder), site_rows(folder, site)
    model = build_model(settings)
    set_peft_model_state_dict(model, message.content["arrays"].to_torch_state_dict())
    seed = settings["seed"] + 1000 * int(config["server-round"]) + site
    make_trainer(settings, model, folder, rows, seed).train()
    reply = {
        "arrays": ArrayRecord(get_peft_model_state_dict(model)),
        "metrics": MetricRecord({"num-examples": len(rows)}),
    }
    return Message(content=RecordDict(reply), reply_to=message)


def serve(folder: str, threads: int) -> ServerApp:
    """The coordinator: the workload's rounds, then one evaluation on all rows held out."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        settings = workload(folder)
        sites = len(settings["sites"])
        strategy = AllReply(fraction_evaluate=0.0, min_train_nodes=sites, min_available_nodes=sites)
        result = strategy.start(
            grid=grid,
            initial_arrays=ArrayRecord(load_file(Path(folder) / "initial.safetensors")),
            num_rounds=settings["rounds"],
            train_config=ConfigRecord({"folder": folder, "threads": threads}),
        )
        accuracy = evaluate(settings, folder, result.arrays)
        (Path(folder) / "flower.json").write_text(json.dumps({"accuracy": accuracy}))

    return app


def evaluate(settings: dict[str, Any], folder: str, arrays: ArrayRecord) -> float:
    """Accuracy on all sites' rows held out."""
    torch.set_num_threads(CORES)
    model = build_model(settings)
    set_peft_model_state_dict(model, arrays.to_torch_state_dict())
    rows = tokenise(settings, [row for site in settings["sites"] for row in site["test"]])
    output = make_trainer(settings, model, folder, None, settings["seed"]).predict(rows)
    return float((output.predictions.argmax(axis=-1) == output.label_ids).mean())


@lru_cache
def workload(folder: str) -> dict[str, Any]:
    """What simulation.py wrote: model, LoRA, training, rounds, and every site's texts and labels."""
    settings: dict[str, Any] = json.loads((Path(folder) / "workload.json").read_text())
    return settings


@lru_cache
def tokenizer(source: str) -> Any:
    return AutoTokenizer.from_pretrained(source)


@lru_cache
def site_rows(folder: str, site: int) -> datasets.Dataset:
    """A site's training rows, tokenised once in every actor."""
    settings = workload(folder)
    return tokenise(settings, settings["sites"][site]["train"])


def tokenise(settings: dict[str, Any], rows: list[tuple[str, int]]) -> datasets.Dataset:
    """Rows (text, label) cut at the longest length, not yet padded."""
    texts, labels = [row[0] for row in rows], [row[1] for row in rows]
    encoded = tokenizer(settings["model"])(texts, truncation=True, max_length=settings["max_length"])
    return datasets.Dataset.from_dict({**encoded, "labels": labels})


def build_model(settings: dict[str, Any]) -> PeftModel:
    """A base model read from its folder, with a new adapter."""
    base = AutoModelForSequenceClassification.from_pretrained(
        settings["model"], num_labels=settings["labels"]
    )
    return get_peft_model(base, LoraConfig(task_type=TaskType.SEQ_CLS, **settings["lora"]))


def make_trainer(
    settings: dict[str, Any], model: PeftModel, folder: str, rows: datasets.Dataset | None, seed: int
) -> Trainer:
    """Trainer with its defaults, but for what must be equal on both sides; batches pad to their longest."""
    arguments = TrainingArguments(
        output_dir=str(Path(folder) / "trainer"),
        per_device_eval_batch_size=EVALUATION_BATCH,
        seed=seed,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        **settings["training"],
    )
    collator = DataCollatorWithPadding(tokenizer(settings["model"]))
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collator)
    trainer.remove_callback(PrinterCallback)
    return trainer


def run() -> None:
    """Simulate a workload: `folder actors`, the actors sharing the cores (and torch threads) evenly."""
    folder, actors = sys.argv[1], int(sys.argv[2])
    warnings.simplefilter("ignore")
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    cores = CORES // actors
    run_simulation(
        server_app=serve(folder, threads=cores),
        client_app=client_app,
        num_supernodes=len(workload(folder)["sites"]),
        backend_config={
            "client_resources": {"num_cpus": cores, "num_gpus": 0.0},
            "init_args": {"num_cpus": CORES, "num_gpus": 0},
        },
    )
