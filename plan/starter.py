"""The plan that `sealora plan new` writes: small, complete, and explained line by line."""

from dataclasses import dataclass

from sealora.models.settings import DataSettings
from sealora.models.task_card import Head
from sealora.models.task_registry import registered, task_card
from sealora.plan.writer import quoted

_TEMPLATE = """\
# A Sealora plan: the contract of one run. Every party sees it, and all must hold the same.
# Keys that are left out keep their defaults; `sealora plan show` prints them all.
schema = 1
name = "starter"
seed = 0                        # of every random choice that is no secret

[model]
name = {model}
# bundled:NAME, a local folder, a Hugging Face id, or modelscope:ID

[task]
name = {task}
{labels}max_length = 128                # longest text in tokens

[data]
# A CSV, TSV, JSONL or Parquet file, a folder, or bundled:NAME.
{data}test_fraction = 0.2             # held out at every site for the metrics

[lora]
rank = 8
alpha = 16.0                    # the update is alpha / rank · B·A

[training]                      # at one site in one round
epochs = 1
batch_size = 16
learning_rate = 1e-3

[rounds]
count = 3

[cohort]
size = 0                        # sites drawn for each round; 0 takes all
quorum = 0.5                    # share of them that must contribute

[strategy]
name = "fedavg"

[simulation]                    # for `sealora simulate` only; never part of the contract
sites = 8
partition = "iid"               # or "dirichlet", "natural", "size"
"""


_LABELS = """\
labels = ["negative", "positive"]   # in the order of the model's outputs
"""


@dataclass(frozen=True)
class _Start:
    """A model and data to begin with."""

    model: str
    data: str


_REVIEWS = """\
path = "bundled:movie-reviews"
text_column = "text"
{labelled}rows = 2000                     # most rows to use; 0 uses all
"""
_LABELLED = """\
label_column = "label"
label_map = { "0" = "negative", "1" = "positive" }
"""
_CONVERSATIONS = """\
path = "bundled:alpaca-en"
prompt_column = "instruction"
context_column = "input"        # what the prompt refers to
response_column = "output"
rows = 400                      # most rows to use; 0 uses all
"""
_MODELS: dict[Head, str] = {"causal_lm": "bundled:smollm2", "masked_lm": "google-bert/bert-base-uncased"}


def starter(task: str = "classification", model: str = "") -> str:
    """The TOML text of a plan that runs as it is with the task's own model, which "" stands for."""
    start = _start(task)
    labelled = task not in registered() or bool(task_card(task).fewest_labels)
    return _TEMPLATE.format(
        task=quoted(task),
        model=quoted(model or start.model),
        labels=_LABELS if labelled else "",
        data=start.data.format(labelled=_LABELLED if labelled else ""),
    )


def _start(task: str) -> _Start:
    """An unknown task's plan is refused when it is read, with what is known."""
    if task not in registered():
        return _Start("bundled:minilm", _REVIEWS)
    card = task_card(task)
    asks = "prompt_column" in card.columns(DataSettings())
    return _Start(_MODELS.get(card.head, "bundled:minilm"), _CONVERSATIONS if asks else _REVIEWS)
