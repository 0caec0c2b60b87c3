"""Audits through Python: attack a run or a plan, and compare what leaks with what is claimed."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from sealora.plan.loader import Plan, load
from sealora.run import Run
from sealora.simulation.audit import Audit
from sealora.simulation.audit import audit as run_audit
from sealora.simulation.audit_report import Attack, AuditReport
from sealora.simulation.run_folder import RunFolder


def audit(
    subject: Run | Plan | str | Path,
    *,
    only: Sequence[Attack] = (),
    seed: int = 0,
    noise: bool = True,
    console: Console | None = None,
) -> AuditReport:
    """Attack a finished run, or a plan, and report what leaked beside what was claimed.

    Parameters: `subject` is a Run, a Plan, or the path of a run folder or a plan; `only` names attacks
    ("canaries", "inversion", "membership"; none means all that apply); `seed` decides which canaries and
    texts take part; without `noise` the canaries train without noise, and the report has to call the
    claim broken; `console` shows progress (nothing is printed by default).
    Raises: PlanError, DataError, ModelError or UsageError if the subject cannot be read, or an attack in
    `only` cannot be made on it.
    """
    if isinstance(subject, Plan):
        return run_audit(Audit(subject, None, seed, noise), subject.name, only, console)
    if isinstance(subject, Run):
        return run_audit(
            Audit(subject.plan, subject.folder, seed, noise), str(subject.folder.path), only, console
        )
    path = Path(subject)
    if not path.is_dir():
        return run_audit(Audit(load(path), None, seed, noise), str(path), only, console)
    folder = RunFolder.open(path)
    return run_audit(Audit(folder.plan, folder, seed, noise), str(path), only, console)
