"""A tiny BERT and a small table, so that a whole run takes about a second. Nothing asks a hub."""

import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-RSA-AES128-GCM-SHA256"  # as protocol/transport.py wants it
os.environ["TOKENIZERS_PARALLELISM"] = "false"

LONGEST = (
    "test_ray.py",
    "test_guides.py",
    "test_partners.py",
    "test_kills.py",
    "test_secure_session.py",
    "test_kill_each_phase.py",
    "test_simulate.py",
    "test_flower_app.py",
    "test_private_run.py",
    "test_smollm2.py",
    "test_admission.py",
    "test_notebook.py",
)
"""Files that take more than half a minute: begun first, so that parallel workers end together."""


def pytest_collection_modifyitems(items):
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


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
def save_tiny_bert(tmp_path_factory, tiny_tokenizer):
    """Saves a random BERT, of width 16 with two layers, as a class of transformers; gives its folder."""

    def save(name: str) -> Path:
        import torch
        import transformers

        folder = tmp_path_factory.mktemp(name)
        config = transformers.BertConfig(
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
            getattr(transformers, name)(config).save_pretrained(folder)
        tiny_tokenizer.save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="session")
def tiny_model(save_tiny_bert):
    """A folder with a random BERT without a head."""
    return save_tiny_bert("BertModel")


@pytest.fixture(scope="session")
def tiny_chat_model(tmp_path_factory):
    """A folder with a random Llama that knows a few words and a chat template: two layers, width 16."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = ("<unk>", "<s>", "</s>", "system", "user", "assistant", ":", *PRAISE, *BLAME, *FILLERS)
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    wrapped.chat_template = (
        "{% for m in messages %}{{ '<s>' + m['role'] + ' : ' + m['content'] + ' </s>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<s>assistant : ' }}{% endif %}"
    )
    folder = tmp_path_factory.mktemp("tiny-llama")
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    wrapped.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def chats(tmp_path_factory) -> Path:
    """A table of 80 prompts, responses and the users they are of; what is asked decides the answer."""
    path = tmp_path_factory.mktemp("chats") / "chats.csv"
    rows = []
    for number in range(80):
        draw = random.Random(number)
        word = draw.choice(PRAISE + BLAME)
        asked = " ".join(["the film was", word, *draw.choices(FILLERS, k=draw.randint(0, 8))])
        answer = " ".join(["a", word, "story", *(["of people"] if number % 3 else [])])
        rows.append(f"{asked},{answer},user {number % 4}")
    path.write_text("\n".join(["prompt,response,user", *rows]) + "\n")
    return path


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


class Partners:
    """A federation and its sites in temporary folders, as their operators would make them."""

    def __init__(self, folder: Path) -> None:
        from sealora.server import authority

        self.folder = folder
        self.now = datetime.now(UTC)
        self.federation = authority.create(folder / "server", "stroke", "localhost:8443", None, self.now)

    def site(self, name: str):
        """A site that has keys, and asks to be enrolled."""
        from sealora.client import enrolment

        return enrolment.create(self.folder / name, name, None)

    def request(self, site):
        from sealora.plan.received import load_received
        from sealora.protocol.enrolment import EnrolmentRequest

        return load_received(EnrolmentRequest, site.request_path)

    def enrol(self, site, days: int = 90):
        """The join bundle."""
        from sealora.server import authority

        valid = timedelta(days=days)
        return authority.enrol(self.federation, self.request(site), valid, None, self.now)

    def join(self, site, bundle=None):
        from sealora.client import enrolment

        enrolment.join(site, enrolment.examine(site, bundle or self.enrol(site), self.now))

    def member(self, name: str):
        """A site that has joined."""
        site = self.site(name)
        self.join(site)
        return site

    def sign(self, draft, *sites):
        """The approvals of a draft by sites."""
        from sealora.client.pinned_roster import PinnedRoster

        public = self.federation.public
        return [PinnedRoster(site).sign(draft, site.identity(None), public) for site in sites]

    def found(self, *names: str):
        """Sites with a roster in force that all of them follow."""
        from sealora.client.pinned_roster import PinnedRoster
        from sealora.server.roster_book import RosterBook

        sites = [self.member(name) for name in names]
        book = RosterBook(self.federation)
        book.collect(self.sign(book.propose(0), *sites))
        for site in sites:
            PinnedRoster(site).follow(self.federation.roster_path.read_bytes(), self.federation.public)
        return sites


@pytest.fixture
def partners(tmp_path: Path) -> Partners:
    """A fresh federation in the test's folder."""
    return Partners(tmp_path)
