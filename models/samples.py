"""A text to try a trained model with: of the language and kind that it was trained on, as far as known."""

from sealora.models.assets import ASSETS
from sealora.models.settings import DataSettings, TaskSettings
from sealora.models.task_registry import task_card


def sample_text(task: TaskSettings, data: DataSettings) -> str:
    """One of the bundled data set's kind, or a stand-in for a text of the user's: never a row."""
    card = task_card(task.name)
    if card.head == "masked_lm":
        return card.sample  # no data set's texts have the gaps that are filled
    bundled = {f"bundled:{asset.name}": asset.sample for asset in ASSETS if asset.kind == "data"}
    return bundled.get(data.path, card.sample)
