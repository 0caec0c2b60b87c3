"""The site.toml that `sealora site init` writes: it allows nothing until its operator does."""

_TEXT = """\
# What this site's data may be used for. The coordinator cannot loosen any line of it; a change counts
# from the next round. `sealora site review PLAN` says what a plan would do and which line refuses it.
schema = 1

[data]
name = "records"                # its privacy ledger goes by this name
path = "records.csv"            # CSV, TSV, JSONL, Parquet, or a folder; from this file's folder
text_column = "text"
label_column = "label"
# label_map = { "0" = "negative", "1" = "positive" }

[allow]
models = []                     # base models by hash: see `sealora site review`
tasks = ["classification"]
columns = ["text", "label"]
plans = []                      # by hash, besides those of `sealora site approve`

[floors]
secure_aggregation = true       # the coordinator sees sums only
cohort = 3                      # fewest sites of a round
colluders = 0                   # fewest sites that may conspire with the coordinator in vain
minimum_contributors = 3        # fewest sites whose sum may be opened

[limits]
rounds = 100
runs = 1                        # for each approval of a plan
attempts = 1000                 # of one round, however often it is resumed or begun anew
epsilon_per_run = 0.0           # 0 asks for no guarantee for single records
epsilon_for_ever = 0.0
delta = 1e-5
hours = []                      # such as ["20:00-06:00"]; empty allows any time

[resources]
threads = 0                     # 0 sets no limit
memory = 0.0                    # GiB
"""


def starter() -> str:
    """The TOML text."""
    return _TEXT
