"""Membership inference: does the final adapter give its training rows away by their loss?

Rows that were trained on tend to have a smaller loss (Yeom et al. 2018, arXiv 1709.01604). How much smaller
than under the first adapter, which saw nobody's rows, is the better sign, since it leaves out how hard a
row is (Watson et al. 2022, arXiv 2111.08440).
"""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from sealora.client.batches import sorted_batches
from sealora.models import lora
from sealora.models.adapter import Tensors
from sealora.models.cleaning import clean
from sealora.models.table import read_table, seeded_order, undrawn_rows
from sealora.models.task import Example
from sealora.privacy.audit_bound import CONFIDENCE, rates_bound
from sealora.protocol.errors import DataError, UsageError
from sealora.simulation.audit_report import Finding, Inapplicable, Verdict
from sealora.simulation.federation import Federation, assemble
from sealora.simulation.privacy import public_examples
from sealora.simulation.run_folder import RunFolder

MOST = 2000
"""Rows of each side that are attacked."""
FEWEST = 20
BATCH = 32
FALSE_ALARMS = 0.01
"""Share of strangers that the attacker may take for members."""

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Rows that trained, rows that did not, and where the latter are from."""

    members: Sequence[Example]
    strangers: Sequence[Example]
    source: str
    alike: bool = True
    """Whether members were drawn from the same rows as strangers: else they differ in more than that."""


def audit_membership(
    folder: RunFolder, claimed: float | None, seed: int, tell: Callable[[str], None]
) -> Finding:
    """Attack a finished run's adapter; `claimed` is the ε of its rows, None if nothing was promised.

    Raises Inapplicable if too few rows were left out of the training, DataError if the run's table is
    no longer what it was.
    """
    tell("Membership: reading the run's rows")
    with tempfile.TemporaryDirectory(prefix="sealora-audit-") as state:
        federation = assemble(folder.plan, Path(state))
    _require_same(federation, folder)
    rows = _drawn(_rows(federation), seed)
    adapter = folder.load_adapter(federation.initial.layout)
    losses: dict[str, list[Scores]] = {}
    for name, tensors in {"before": federation.initial.tensors, "after": adapter.tensors}.items():
        losses[name] = [
            row_losses(federation, tensors, examples, tell) for examples in (rows.members, rows.strangers)
        ]
    signs = {
        "loss": [-after for after in losses["after"]],
        "calibrated": [
            before - after for before, after in zip(losses["before"], losses["after"], strict=True)
        ],
    }
    delta = folder.plan.privacy.delta
    figures = {name: measure(members, strangers, delta) for name, (members, strangers) in signs.items()}
    return _finding(rows, figures, claimed, delta)


def measure(members: Scores, strangers: Scores, delta: float) -> dict[str, float]:
    """How well larger scores tell members: area under the curve, share found at 1 % false alarms, and the
    ε that this proves (95 % for two attacks together)."""
    truth = np.concatenate([np.ones(members.size), np.zeros(strangers.size)])
    allowed = math.floor(FALSE_ALARMS * strangers.size)
    threshold = np.sort(strangers)[::-1][allowed]
    found = int((members > threshold).sum())
    confidence = 1 - (1 - CONFIDENCE) / 2
    return {
        "auc": float(roc_auc_score(truth, np.concatenate([members, strangers]))),
        "true_positive_rate": found / members.size,
        "false_positive_rate": float((strangers > threshold).mean()),
        "epsilon_shown": rates_bound(found, members.size, allowed, strangers.size, delta, confidence),
    }


def row_losses(
    federation: Federation, tensors: Tensors, examples: Sequence[Example], tell: Callable[[str], None]
) -> Scores:
    """The loss of each example under an adapter, shape (examples,)."""
    model, task = federation.model, federation.task
    lora.write(model, tensors)
    model.eval()
    losses = np.zeros(len(examples))
    done = 0
    with torch.inference_mode():
        for rows in sorted_batches([example.length for example in examples], BATCH):
            chosen = [examples[row] for row in rows]
            batch = task.collate(chosen, federation.base.tokenizer, bytes(32), packed=False)
            batch = batch.to(federation.base.device)
            outputs = task.forward(model, batch)
            losses[rows] = task.losses(outputs, batch.targets).double().cpu().numpy()
            done += len(rows)
            tell(f"Membership: {done} of {len(examples)} rows measured")
    return np.nan_to_num(losses, nan=math.inf)


def _require_same(federation: Federation, folder: RunFolder) -> None:
    """Raises UsageError unless rows and base model are, as far as the run recorded them, those of the run."""
    result = folder.result
    if federation.plan.model_hash != result["model_hash"]:
        raise UsageError("the base model is not the one that the run began with.", "Restore that model.")
    counts = {name: len(site.data.train) for name, site in federation.sites.items()}
    if counts != {name: site["train_rows"] for name, site in result["sites"].items()}:
        raise DataError("the data is no longer what the run trained on.", "Restore the table at data.path.")


def _rows(federation: Federation) -> Rows:
    members = federation.train_rows
    if not federation.plan.privacy.private:
        return Rows(members, federation.test_rows, "the sites' held-out rows")
    known = {example.tokens for example in members}
    strangers = [example for example in _left_out(federation) if example.tokens not in known]
    if strangers:
        return Rows(members, strangers, "rows of the same table that no site was dealt")
    if federation.plan.privacy.public_holdout:
        public = public_examples(federation.plan, federation.task, federation.base)
        return Rows(members, public, "the public table, which may differ in other ways too", alike=False)
    raise Inapplicable(
        "all rows of the table trained, so there are none to compare them with.",
        "Set data.rows below the table's rows, or name a privacy.public_holdout, and run it anew.",
    )


def _left_out(federation: Federation) -> list[Example]:
    """The usable rows that the plan's draw left in the table."""
    plan = federation.plan
    table = undrawn_rows(
        read_table(plan.data, federation.task.card.columns(plan.data)), plan.data.rows, plan.seed
    )
    if not len(table):
        return []
    rows, _ = clean(table, plan.data, federation.task, federation.base.tokenizer)
    return [row.example for row in rows]


def _drawn(rows: Rows, seed: int) -> Rows:
    """At most `MOST` rows of each side. Raises Inapplicable if a side has too few."""
    if min(len(rows.members), len(rows.strangers)) < FEWEST:
        raise Inapplicable(
            f"{len(rows.members)} training rows and {len(rows.strangers)} others are too few.",
            f"Audit a run with at least {FEWEST} of each.",
        )
    members, strangers = (
        [side[row] for row in seeded_order(len(side), "audit", seed)[:MOST]]
        for side in (rows.members, rows.strangers)
    )
    return Rows(members, strangers, rows.source, rows.alike)


def _finding(
    rows: Rows, figures: Mapping[str, Mapping[str, float]], claimed: float | None, delta: float
) -> Finding:
    shown = max(sign["epsilon_shown"] for sign in figures.values())
    claim, verdict = _judge(rows.alike, shown, claimed, delta)
    return Finding(
        attack="membership",
        target="Which rows the final adapter was trained on.",
        found=_found(figures["loss"], figures["calibrated"], rows.source),
        claimed=claim,
        verdict=verdict,
        figures={
            "members": len(rows.members),
            "strangers": len(rows.strangers),
            "epsilon_claimed": claimed,
            "epsilon_shown": shown,
            **figures,
        },
    )


def _found(loss: Mapping[str, float], calibrated: Mapping[str, float], source: str) -> str:
    rates = [sign["true_positive_rate"] for sign in (loss, calibrated)]
    return (
        f"By loss: AUC {loss['auc']:.3f}, {rates[0]:.1%} found at 1 % false alarms; by its fall in training: "
        f"AUC {calibrated['auc']:.3f}, {rates[1]:.1%} found (chance: 0.5, 1 %). Compared with {source}."
    )


def _judge(alike: bool, shown: float, claimed: float | None, delta: float) -> tuple[str, Verdict]:
    if claimed is None:
        return "Nothing: the plan promises no privacy of records.", "no claim"
    most = min(1.0, math.exp(min(claimed, 700.0)) * FALSE_ALARMS + delta)
    claim = f"ε is at most {claimed:.4g}: at 1 % false alarms at most {most:.1%} are found"
    if not alike:
        return f"{claim} among rows alike, which these are not.", "no claim"
    return f"{claim}; this shows at least {shown:.2f}.", "broken" if shown > claimed else "holds"
