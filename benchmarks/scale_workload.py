"""The workload of scale.py: a small transformer, ten short rows a site, a plan."""

import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

ROWS = 10
"""Rows of a site, two of them held out."""
IDEAL_ABOVE = 1000
"""Sites of a session above which it has no keys."""
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{number}" for number in range(250)))
GOOD, BAD = WORDS[4:24], WORDS[24:44]
PLAN = """\
schema = 1
name = "scale"

[model]
name = "{folder}/model"
device = "cpu"

[task]
labels = ["bad", "good"]
max_length = 32

[data]
path = "{folder}/rows.csv"

[lora]
rank = 32
target_modules = ["query", "key", "value", "dense"]

[training]
batch_size = 8
threads = 1

[rounds]
count = {rounds}

[cohort]
size = {cohort}

[secure_aggregation]
colluders = {colluders}
minimum_contributors = {least}

[simulation]
sites = {sites}
engine = "{engine}"
workers = 2
dropout_rate = {dropout}
ideal_above = {ideal_above}
"""


def write_model(folder: Path) -> None:
    """A BERT of two layers and width 128, whose adapter has 123,138 values."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)


def write_rows(path: Path, sites: int) -> None:
    """Rows whose label one word decides; no two are the same."""
    draw = random.Random(0)
    lines = ["text,label"]
    for number in range(ROWS * sites):
        words = [*draw.choices(WORDS[44:], k=9), draw.choice(GOOD if number % 2 else BAD)]
        draw.shuffle(words)
        lines.append(f"{' '.join(words)} {number},{('bad', 'good')[number % 2]}")
    path.write_text("\n".join(lines) + "\n")


def write_plan(
    folder: Path,
    sites: int,
    cohort: int,
    engine: str = "local",
    rounds: int = 2,
    dropout: float = 0.0,
    ideal_above: int = IDEAL_ABOVE,
) -> Path:
    """The plan, its model and its rows; a tenth of a cohort may collude, and 15 % may be lost."""
    if not (folder / "model").exists():
        write_model(folder / "model")
    write_rows(folder / "rows.csv", sites)
    values = {"sites": sites, "cohort": cohort, "engine": engine, "rounds": rounds, "dropout": dropout}
    limits = {"colluders": cohort // 10, "least": cohort - cohort * 15 // 100, "ideal_above": ideal_above}
    path = folder / "plan.toml"
    path.write_text(PLAN.format(folder=folder, **values, **limits))
    return path
