"""The parts of a plan that belong to the run as a whole, and the plan itself."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from sealora.models.settings import DataSettings, LoraSettings, ModelSettings, TaskSettings, TrainingSettings
from sealora.privacy.settings import PrivacySettings
from sealora.protocol.settings import CodecSettings, SecureAggregationSettings, Settings
from sealora.strategies.settings import StrategySettings


class RoundsSettings(Settings):
    """How long the run goes on and how long a round may take."""

    count: Annotated[int, Field(ge=1, le=100_000)] = 3
    """Rounds of the run."""
    deadline: PositiveFloat = 3600.0
    """Seconds that sites have to train and answer in one round."""
    attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """How often a round is tried, and the shares that open its sum are asked for, before the run pauses."""


class CohortSettings(Settings):
    """Which sites take part in a round."""

    size: Annotated[int, Field(ge=0)] = 0
    """Sites drawn for each round; 0 takes all."""
    quorum: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the cohort that must contribute for a round to count."""


Attack = Literal["label_flip", "backdoor", "sign_flip", "scaled_update", "nan", "free_rider", "huge_weight"]
"""What a malicious site of a simulation does."""


class SimulationSettings(Settings):
    """Simulated sites. Never part of the plan's hash."""

    sites: Annotated[int, Field(ge=1, le=100_000)] = 8
    """Number of simulated sites (with `partition = "natural"` the column's values decide)."""
    workers: Annotated[int, Field(ge=0, le=1024)] = 0
    """Sites that train at the same time; 0 takes the cores divided by `training.threads`."""
    engine: Literal["local", "ray"] = "local"
    """Where sites train: in this process, or in actors of Ray, through Flower, on many cores and machines."""
    ray_address: str = ""
    """A Ray cluster that is running, as `host:6379` or `auto`; empty starts Ray here and stops it again."""
    actor_cpus: Annotated[float, Field(ge=0, le=1024)] = 0.0
    """Cores that an actor of Ray reserves; 0 takes `training.threads`."""
    actor_gpus: Annotated[float, Field(ge=0, le=64)] = 0.0
    """GPUs that an actor of Ray reserves; a fraction lets several share one."""
    ideal_above: Annotated[int, Field(ge=0, le=100_000)] = 1000
    """Larger cohorts are summed by an ideal functionality instead of real keys; every report says so."""
    partition: Literal["iid", "dirichlet", "natural", "size"] = "iid"
    """How rows are dealt to sites: evenly, by label skew, by a column's value, or by size."""
    dirichlet_alpha: PositiveFloat = 0.5
    """Concentration of the label skew (arXiv 1909.06335); smaller is more skewed."""
    partition_column: str = ""
    """The column whose values are the sites, for `natural`."""
    size_rule: Literal["linear", "square", "exponential"] = "linear"
    """How fast sites' sizes grow, for `size`."""
    minimum_rows: Annotated[int, Field(ge=2)] = 10
    """Fewest rows that a site receives from the partitioner."""
    dropout_rate: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Chance that a site is lost in a round, drawn with the plan's seed."""
    straggler_rate: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Chance that a site answers after the deadline, drawn with the plan's seed."""
    attackers: dict[str, Attack] = Field(default_factory=dict)
    """Malicious sites by name, and what each does, such as `{ "site-03" = "sign_flip" }`: see
    [scripted attackers](threat-model.md#scripted-attackers)."""
    attack_scale: PositiveFloat = 10.0
    """Factor of sign_flip and scaled_update on an honest update, and of huge_weight on the largest weight."""
    ledgers: str = ""
    """Absolute path of ledgers that outlive the run, so that runs on the same data add up; empty: its own."""
    budgets: dict[str, float] = Field(default_factory=dict)
    """Budget ε for ever of single sites' ledgers, by name; `"*"` is any other's. Default: privacy.epsilon."""

    @property
    def numbered(self) -> tuple[str, ...]:
        """site-01, site-02, …: the names of the sites, or none where a column names them."""
        if self.partition == "natural":
            return ()
        width = max(2, len(str(self.sites)))
        return tuple(f"site-{number:0{width}d}" for number in range(1, self.sites + 1))


class PlanSettings(Settings):
    """A run contract as written in TOML, every default filled in."""

    schema_version: Literal[1] = Field(alias="schema")
    """Version of the plan format."""
    name: Annotated[str, Field(min_length=1, max_length=100)] = "run"
    """A short name for people."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of every random choice that is not a secret."""
    model: ModelSettings
    task: TaskSettings
    data: DataSettings = DataSettings()
    lora: LoraSettings = LoraSettings()
    training: TrainingSettings = TrainingSettings()
    rounds: RoundsSettings = RoundsSettings()
    cohort: CohortSettings = CohortSettings()
    strategy: StrategySettings = StrategySettings()
    codec: CodecSettings = CodecSettings()
    secure_aggregation: SecureAggregationSettings = SecureAggregationSettings()
    privacy: PrivacySettings = PrivacySettings()
    simulation: SimulationSettings = SimulationSettings()
