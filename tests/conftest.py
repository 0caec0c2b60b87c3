"""A tiny BERT and a small table, so that a whole run takes about a second. Nothing asks a hub."""

import os
import random
from pathlib import Path
from types import SimpleNamespace

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

PRAISE = ("good", "warm", "bright", "kind")
BLAME = ("bad", "cold", "dull", "cruel")
FILLERS = ("the", "film", "was", "and", "a", "story", "of", "people", "in", "town")
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *PRAISE, *BLAME, *FILLERS, "##s", "##ly")

PLAN = """\
schema = 1
name = "tiny"

[model]
name = "{model}"
device = "cpu"

[task]
labels = ["negative", "positive"]
max_length = 16

[data]
path = "{data}"

[lora]
rank = 2

[training]
batch_size = 8
learning_rate = 0.02
threads = 1

[rounds]
count = 3

[simulation]
sites = 5
"""


@pytest.fixture(scope="session")
def tiny_tokenizer():
    """A WordPiece tokenizer of a few words that frames texts as BERT's does."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    special = {f"{name}_token": token for name, token in names.items()}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory, tiny_tokenizer):
    """A folder with a random BERT: two layers, width 16."""
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("tiny-bert")
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=0.3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


def review(number: int) -> tuple[str, str]:
    """A text and its label; every text differs, and one word decides."""
    draw = random.Random(number)
    label = ("negative", "positive")[number % 2]
    words = [*draw.choices(FILLERS, k=draw.randint(3, 10)), draw.choice(PRAISE if number % 2 else BLAME)]
    draw.shuffle(words)
    return f"{' '.join(words)} {number}", label


@pytest.fixture(scope="session")
def reviews(tmp_path_factory) -> Path:
    """A table of 100 reviews, half of them positive."""
    path = tmp_path_factory.mktemp("reviews") / "reviews.csv"
    rows = [f"{text},{label}" for text, label in map(review, range(100))]
    path.write_text("\n".join(["text,label", *rows]) + "\n")
    return path


@pytest.fixture(scope="session")
def tiny(tiny_model, reviews):
    """Writes plans on the tiny model: `tiny.plan(folder, edits)`; an edit replaces or adds a line."""

    def write(folder: Path, *edits: tuple[str, str], **values: object) -> Path:
        text = PLAN.format(**{"model": tiny_model, "data": reviews, **values})
        for old, new in edits:
            assert old in text, old
            text = text.replace(old, new)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "plan.toml"
        path.write_text(text)
        return path

    return SimpleNamespace(plan=write, model=tiny_model, data=reviews)


@pytest.fixture(scope="session")
def finished(tiny, tmp_path_factory) -> Path:
    """The folder of a finished run of two rounds with its comparison. Read it, change nothing in it."""
    import sealora

    folder = tmp_path_factory.mktemp("finished")
    sealora.simulate(tiny.plan(folder), folder / "run", rounds=2, compare=True)
    return folder / "run"


@pytest.fixture
def command(capsys, monkeypatch):
    """Runs `sealora` in this process; returns exit code, standard output and standard error."""
    from sealora.cli.main import main

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["sealora", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return run
