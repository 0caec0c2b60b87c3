"""The parts of a plan that describe the model, the task, the data and local training."""

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from sealora.protocol.settings import Settings

Fraction = Annotated[float, Field(ge=0, lt=1)]


class ModelSettings(Settings):
    """The base model, which stays frozen at every site."""

    name: str
    """`bundled:NAME`, a local folder, a Hugging Face id, or `modelscope:ID`."""
    revision: str = ""
    """Commit or tag of a hub model; empty means the hub's default."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where sites compute; `auto` takes CUDA, then MPS, then the CPU."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the frozen base; `auto` is float32 on the CPU and bfloat16 autocast on CUDA."""

    quantization: Literal["none", "int8", "int4"] = "none"
    """Bits of the frozen base's linear layers: `int8` or `int4` (NF4) take less memory, and cost accuracy."""


class LoraSettings(Settings):
    """The low-rank adapter that is trained (LoRA, arXiv 2106.09685), together with the task's head."""

    rank: Annotated[int, Field(ge=0, le=1024)] = 8
    """Rank r of every adapted matrix; 0 adapts none, and trains the head alone."""
    ranks: dict[str, int] = Field(default_factory=dict)
    """Lower ranks of single sites, by name, such as `{ "site-01" = 4 }`; all share the scale alpha / rank."""
    alpha: PositiveFloat = 16.0
    """Scaling numerator: the update is alpha / rank · B·A."""
    dropout: Fraction = 0.0
    """Dropout before A; the frozen base itself never drops out."""
    target_modules: tuple[str, ...] = ()
    """Names of the linear layers to adapt; empty picks the attention's query and value projections."""
    last_layers: Annotated[int, Field(ge=0, le=1024)] = 0
    """Adapts only this many of the model's last layers; 0 adapts all."""


class TaskSettings(Settings):
    """What the model learns to do."""

    name: str = "classification"
    """A registered task; plug-in packages can add their own."""
    labels: tuple[str, ...] = ()
    """Class names in the order of the model's outputs, for tasks with classes; every site uses the same."""
    multi_label: bool = False
    """Whether a text can carry several labels (written `a|b` in a table)."""
    max_length: Annotated[int, Field(ge=4, le=131_072)] = 128
    """Longest text in tokens; `data.too_long` says what happens to longer ones."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The task's own keys, listed below for each task."""


class ColumnSettings(Settings):
    """Which column holds what; each task reads some of them."""

    text_column: str = "text"
    """Column with the text."""
    label_column: str = "label"
    """Column with the label."""
    prompt_column: str = "prompt"
    """Column with what a language model is asked."""
    context_column: str = ""
    """Column with what a prompt refers to, put below it; empty for none."""
    response_column: str = "response"
    """Column with what it is to answer."""
    messages_column: str = ""
    """Column with whole conversations (lists of `role` and `content`) instead of prompt and response."""
    chosen_column: str = "chosen"
    """Column with the better of two answers."""
    rejected_column: str = "rejected"
    """Column with the worse of two answers."""
    tokens_column: str = "tokens"
    """Column with a text's words, as a list or separated by spaces."""
    tags_column: str = "tags"
    """Column with the words' tags, likewise."""


TEXT_COLUMNS = frozenset({"text_column", "prompt_column", "context_column", "response_column"})
"""Keys of columns that must hold text."""


class DataSettings(ColumnSettings):
    """Where a simulation's data comes from, and how every site cleans and splits it."""

    path: str = ""
    """File or folder (CSV, TSV, JSONL, Parquet) or `bundled:NAME`; partner sites name theirs in site.toml."""
    filter_column: str = ""
    """Column to select rows by; empty keeps all rows."""
    filter_value: str = ""
    """Rows whose `filter_column` has this value are kept."""
    label_map: dict[str, str] = Field(default_factory=dict)
    """Renames the values of the label column to class names, such as `{ "0" = "negative" }`."""
    group_column: str = ""
    """Column with the same value in all rows of a person (`privacy.unit`); rows without one are dropped."""
    rows: Annotated[int, Field(ge=0)] = 0
    """Most rows to use, drawn with the plan's seed; 0 uses all."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of a site's rows held out for the metrics, drawn with the plan's seed."""
    too_long: Literal["truncate", "drop"] = "truncate"
    """What happens to texts longer than `task.max_length`."""
    drop_duplicates: bool = True
    """Whether repeated rows of a site are used once only."""


class TrainingSettings(Settings):
    """Training at one site in one round."""

    epochs: Annotated[int, Field(ge=1, le=1000)] = 1
    """Passes over the site's training rows in each round."""
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 16
    """Rows of one optimiser step."""
    microbatch_size: Annotated[int, Field(ge=0, le=65_536)] = 0
    """Rows of one forward pass; gradients accumulate to `batch_size`. 0 means the whole batch."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """Local optimiser; it starts afresh in every round."""
    learning_rate: PositiveFloat = 1e-3
    """Step size at the start of the run."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay."""
    momentum: Fraction = 0.0
    """Momentum of SGD."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the step size falls over the rounds of the run; all sites follow the same curve."""
    warmup_fraction: Fraction = 0.0
    """Share of the run's steps over which the step size rises from zero."""
    cache_frozen_layers: bool = False
    """Whether what the layers below the first adapted one make of a text is computed once and kept in memory
    (rows · tokens · hidden size · 4 bytes). For texts that are trained on many times with `last_layers`."""
    gradient_checkpointing: bool = False
    """Whether layers are computed again for their gradients, not kept: less memory, a third more time."""
    max_gradient_norm: Annotated[float, Field(ge=0)] = 1.0
    """Gradients with a larger L2 norm are scaled down to it; 0 switches that off."""
    label_calibration: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Strength τ with which training discounts how frequent each class is at its site; 0 switches that off.
    For sites whose classes are shared out unequally."""
    threads: PositiveInt = 1
    """CPU threads of one site's training; fixed by the plan because it decides the rounding. A simulation
    trains several sites at once instead (`simulation.workers`)."""
