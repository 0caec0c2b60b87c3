"""A site made out of its folder: what it does when its data file is replaced."""

from types import SimpleNamespace

import pytest

from sealora.client import approval
from sealora.client.attempt_file import AttemptFile
from sealora.client.policy import plan_name
from sealora.client.workplace import attempts_path, open_site
from sealora.models.base import base_hash, load_base
from sealora.models.task import load_task
from sealora.plan.loader import load
from sealora.protocol.errors import RefusedError
from sealora.protocol.messages import Work

pytestmark = pytest.mark.slow
PRIVACY = """
[strategy]
weighting = "uniform"

[privacy]
guarantee = "record"
epsilon = 1000.0
delta = 1e-3
sampling_rate = 0.5
expected_batch = 8
steps_per_round = 1
noise_multiplier = 1.0
"""


@pytest.fixture(params=["", PRIVACY], ids=["plain", "private"])
def workplace(request, partners, tiny, tmp_path):
    """The folder of a site that approved a plan, how to start it, and how to replace its data."""
    folder = partners.found("ams", "ber", "cph")[0]
    path = tiny.plan(tmp_path / "plan", ("[lora]", "drop_duplicates = false\n\n[lora]"))
    path.write_text(path.read_text() + request.param)
    plan, rows = load(path), folder.path / "records.csv"
    rows.write_text(tiny.data.read_text())
    model = base_hash(load_base(plan.model, load_task(plan.task)))
    edits = {"models = []": f'models = ["{model}"]'}
    if request.param:
        edits |= {f"epsilon_{span} = 0.0": f"epsilon_{span} = 2000.0" for span in ("per_run", "for_ever")}
        edits["delta = 1e-5"] = "delta = 1e-3"
    text = folder.settings_path.read_text()
    for old, new in edits.items():
        assert old in text
        text = text.replace(old, new)
    folder.settings_path.write_text(text)
    approval.record(folder, "approve", plan_name(plan), "tiny", "kim", partners.now)

    def start():
        with AttemptFile(attempts_path(folder), folder.public) as attempts:
            return open_site(folder, plan, folder.identity(None), attempts)

    def replace():
        lines = tiny.data.read_text().splitlines()
        rows.write_text("\n".join([lines[0], *(f"new {line}" for line in lines[1:])]) + "\n")

    return SimpleNamespace(start=start, replace=replace, private=bool(request.param))


def texts(site):
    return [example.tokens for example in site.data.train]


def pay(site, number):
    if site.purse is not None:
        site.purse.pay(SimpleNamespace(run=bytes(16), round=number, attempt=1, work=Work.TRAIN))


def test_a_replaced_data_file_counts_from_the_next_start_and_never_for_the_same_ledger(workplace):
    site = workplace.start()
    before = texts(site)
    pay(site, 1)
    workplace.replace()
    assert texts(site) == before
    pay(site, 2)
    if workplace.private:
        with pytest.raises(RefusedError, match="pays for other data than these"):
            workplace.start()
    else:
        assert texts(workplace.start()) != before
