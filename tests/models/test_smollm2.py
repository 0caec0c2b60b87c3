"""The bundled chat model itself: converted from GGUF, trained by a few steps, and asked."""

import pytest

from sealora.client.torch_trainer import TorchTrainer
from sealora.models.assets import bundled_model
from sealora.models.base import load_base
from sealora.models.lora import initial_adapter
from sealora.models.settings import DataSettings, LoraSettings, ModelSettings, TaskSettings, TrainingSettings
from sealora.models.site_data import prepare
from sealora.models.table import read_table
from sealora.models.task import load_task
from sealora.strategies.strategy import Start


@pytest.mark.slow
def test_it_learns_and_answers():
    options = {"max_new_tokens": 8}
    task = load_task(TaskSettings(name="instruction_tuning", max_length=64, options=options))
    base = load_base(ModelSettings(name="bundled:smollm2", device="cpu"), task)
    assert bundled_model("smollm2").joinpath("model.safetensors").is_file(), "converted once"
    data = DataSettings(path="bundled:chitchat", filter_column="club", filter_value="3")
    table = read_table(data, task.card.columns(data)).select(range(12))
    rows = prepare(table, task, base.tokenizer, data, seed=0, site="test").train[:4]
    settings = TrainingSettings(batch_size=4, epochs=2, learning_rate=2e-3)
    trainer = TorchTrainer(base, task, LoraSettings(rank=4), settings, rounds=1)
    first = initial_adapter(trainer.layout, 0).tensors
    after = trainer.train(Start(first), list(first), rows, 1, bytes(32)).tensors

    def loss(tensors):
        sums = trainer.evaluate(tensors, rows)
        return task.metrics({name: counts.astype(float) for name, counts in sums.items()})["loss"]

    assert loss(after) < loss(first) < 8
    (answer,) = trainer.predict(first, [task.prompt("What is the capital of France?", base.tokenizer)])
    assert "Paris" in answer["response"]
