"""What an audit found: findings in plain sentences with their figures, as a table and as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from sealora.protocol.errors import UsageError
from sealora.server.metrics_log import finite

FORMAT = 1

Attack = Literal["canaries", "inversion", "membership"]
ATTACKS: tuple[Attack, ...] = ("canaries", "inversion", "membership")
Verdict = Literal["holds", "broken", "untested", "no claim", "skipped"]
"""A claim that the attack did not break, or did, or could not have broken, as it fails on what nothing hides;
nothing was promised; the attack cannot be made here."""
STYLES: Mapping[Verdict, str] = {
    "holds": "green",
    "broken": "bold red",
    "untested": "bold yellow",
    "no claim": "yellow",
    "skipped": "dim",
}


class Inapplicable(UsageError):
    """An attack that this run or plan gives no occasion for."""


@dataclass(frozen=True)
class Finding:
    """One attack on one thing, each part a plain sentence or phrase."""

    attack: Attack
    target: str
    found: str
    claimed: str
    verdict: Verdict
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AuditReport:
    """Everything that one audit found."""

    subject: str
    """The run folder or plan."""
    seed: int
    findings: tuple[Finding, ...]

    @property
    def broken(self) -> bool:
        """Whether a claim was shown to be false."""
        return any(finding.verdict == "broken" for finding in self.findings)

    @property
    def untested(self) -> bool:
        """Whether an attack was too weak to say anything about a claim."""
        return any(finding.verdict == "untested" for finding in self.findings)

    @property
    def conclusion(self) -> str:
        """What follows, in a sentence or two."""
        if self.broken:
            return "A claim is broken."
        if self.untested:
            return (
                "A claim was not tested: the attack on it fails even where nothing hides. Try another --seed."
            )
        if any(finding.verdict == "holds" for finding in self.findings):
            return "No claim is broken. That is no proof that none can be."
        return "No claim was tested."

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON; null stands for what is not a finite number."""
        findings = [finite(asdict(finding)) for finding in self.findings]
        return {
            "format": FORMAT,
            "subject": self.subject,
            "seed": self.seed,
            "broken": self.broken,
            "untested": self.untested,
            "findings": findings,
        }


def audit_table(report: AuditReport) -> Table:
    """A row for each finding."""
    table = Table(title=Text(f"Audit of {report.subject}"), title_justify="left", show_lines=True)
    for column in ("attacked", "found", "claimed", "verdict"):
        table.add_column(column)
    for finding in report.findings:
        verdict = Text(finding.verdict, style=STYLES[finding.verdict])
        table.add_row(Text(finding.target), Text(finding.found), Text(finding.claimed), verdict)
    return table
