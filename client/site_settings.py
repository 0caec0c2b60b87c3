"""What a site's operator writes in site.toml: where the data is, and what may be done with it."""

from typing import Annotated, Literal

from pydantic import Field

from sealora.models.settings import ColumnSettings
from sealora.protocol.enrolment import Key
from sealora.protocol.settings import Settings

Fewest = Annotated[int, Field(ge=0, le=100_000)]
Epsilon = Annotated[float, Field(ge=0, le=1e6)]


class SiteDataSettings(ColumnSettings):
    """Where the site's rows are. A plan's own keys of this name are a simulation's and do not count here."""

    name: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,62}$")] = "records"
    """Name of the data set: its privacy ledger goes by it, in all runs."""
    path: str
    """File or folder (CSV, TSV, JSONL, Parquet), from this file's folder, or `bundled:NAME`."""
    filter_column: str = ""
    """Column to select rows by; empty keeps all rows."""
    filter_value: str = ""
    """Rows whose `filter_column` has this value are kept."""
    label_map: dict[str, str] = Field(default_factory=dict)
    """Renames the values of the label column to the plan's class names."""
    group_column: str = ""
    """Column with the same value in all rows of a person, for plans that protect groups."""
    rows: Annotated[int, Field(ge=0)] = 0
    """Most rows to use; 0 uses all, which plans with a guarantee ask for."""


class AllowSettings(Settings):
    """What may be done with the rows. What is not listed here is refused."""

    models: tuple[Key, ...] = ()
    """Base models by the hash that `sealora site review` prints."""
    tasks: tuple[str, ...] = ("classification",)
    """Names of tasks."""
    columns: tuple[str, ...] = ()
    """Columns that [data] may name; empty leaves it to [data]."""
    plans: tuple[Key, ...] = ()
    """Plans by hash, besides those of `sealora site approve`."""


class FloorSettings(Settings):
    """The weakest protection that the site accepts in a round."""

    secure_aggregation: bool = True
    """Whether the coordinator may see sums only."""
    cohort: Fewest = 3
    """Fewest sites of a round."""
    colluders: Fewest = 0
    """Fewest colluding sites that a round must withstand."""
    minimum_contributors: Fewest = 3
    """Fewest sites whose sum may be opened."""


class LimitSettings(Settings):
    """The most that a run may take."""

    rounds: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Most rounds of a run."""
    runs: Annotated[int, Field(ge=1, le=100_000)] = 1
    """Runs of a plan with masks that one approval is good for; those that sent nothing do not count."""
    attempts: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """Most attempts of one round, over all resumes and runs of a plan with masks."""
    epsilon_per_run: Epsilon = 0.0
    """Largest ε of a run for single records; 0 asks for no guarantee."""
    epsilon_for_ever: Epsilon = 0.0
    """Largest ε of all runs on this data set together; 0 asks for no guarantee."""
    delta: Annotated[float, Field(ge=1e-12, lt=0.5)] = 1e-5
    """The δ at which both are reckoned, and the largest of a plan under them."""
    hours: tuple[str, ...] = ()
    """Times of the day, by the site's clock, in which a round may begin, such as `"20:00-06:00"`."""


class ResourceSettings(Settings):
    """What training may use of this machine."""

    threads: Annotated[int, Field(ge=0, le=4096)] = 0
    """Most CPU threads; 0 sets no limit."""
    memory: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    """Most memory of the process that trains, in GiB; 0 sets no limit."""


class SiteSettings(Settings):
    """A whole site.toml, every default filled in."""

    schema_version: Literal[1] = Field(alias="schema")
    """Version of the format."""
    data: SiteDataSettings
    allow: AllowSettings = AllowSettings()
    floors: FloorSettings = FloorSettings()
    limits: LimitSettings = LimitSettings()
    resources: ResourceSettings = ResourceSettings()
