"""What `sealora site review` shows of a plan that somebody else wrote."""

import pytest

from sealora.cli import site_policy
from sealora.client.base_facts import BaseFacts

PLAN = """
schema = 1
name = "p"
model.name = "{model}"
task.labels = ["a", "b"]
data.path = "x.csv"
"""


@pytest.fixture
def review(partners, command, monkeypatch, tmp_path):
    """Reviews a plan of that model; returns what the operator sees."""
    monkeypatch.setattr(site_policy, "_base", lambda plan: (BaseFacts("ab" * 32, 1), ""))
    site = partners.member("ams")

    def run(model="./m", more=""):
        path = tmp_path / "plan.toml"
        path.write_text(PLAN.format(model=model) + more)
        code, out, err = command("site", "review", path, "--dir", site.path)
        assert (code, "bug" in err) == (3, False), err
        return out

    return run


@pytest.mark.parametrize("model", ["./[green]bundled:minilm", "./x[/nope]", "./[link=https://a]b[/link]"])
def test_a_models_name_is_no_markup(review, model):
    cells = [cell.strip() for cell in review(model).replace("│", "┃").split("┃")]
    assert model in cells


def test_a_plan_without_masks_is_told_in_red(review, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    (red,) = (
        line
        for line in review(more="secure_aggregation.enabled = false\n").splitlines()
        if "in clear" in line
    )
    assert red.startswith("\x1b[1;31mIn each round")
    assert red.endswith("\x1b[0m")
    assert "in clear" not in review()
