"""`sealora site review` and `approve`: what a plan would do here, and the operator's yes to it."""

import getpass
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sealora.cli.colour import print_red
from sealora.cli.enrolment import HERE, AsJson, SiteDir, utc_now
from sealora.client import approval
from sealora.client.policy import Case, Policy, Verdict, bound_hash, plan_name
from sealora.client.policy_book import PolicyBook, epsilon_after, local_time
from sealora.client.review import IN_CLEAR, explain
from sealora.client.site_folder import SiteFolder
from sealora.plan.loader import Plan, load
from sealora.protocol.errors import ModelError, RefusedError, UsageError
from sealora.protocol.visible import visible

if TYPE_CHECKING:
    from sealora.client.base_facts import BaseFacts

PlanPath = Annotated[Path, typer.Argument(metavar="PLAN", help="The plan, a TOML file.")]


def review(path: PlanPath, folder: SiteDir = HERE, as_json: AsJson = False) -> None:
    """Say what a plan would do with this site's data, and which policy lines allow or refuse it.

    Ends with exit code 3 if a line refuses. The policy is site.toml in the site's folder.
    """
    site = SiteFolder.open(folder)
    plan, book = load(path), PolicyBook(site)
    policy = book.policy()
    members = _members(site)
    base, missing = _base(plan)
    verdicts = policy.check(_case(plan, book, policy, base, members))
    allowed = all(verdict.allowed for verdict in verdicts)
    sentences = explain(plan, policy.settings, members, site.name)
    warnings = _doubts(plan, policy, site)
    model = base.hash if base is not None else None
    if as_json:
        lines = [{**asdict(verdict), "allowed": verdict.allowed} for verdict in verdicts]
        facts = {"plan": plan_name(plan), "model": model, "does": sentences, "lines": lines}
        print(json.dumps({**facts, "warnings": warnings, "allowed": allowed}, indent=2))
    else:
        print(f"Plan '{plan.name}', hash {plan_name(plan)}")
        print(f"Base model {model}" if model else f"Base model unknown: {visible(missing)}")
        for sentence in sentences:
            (print_red if sentence.endswith(IN_CLEAR) else print)(sentence)
        for line in warnings:
            print(f"warning: {visible(line)}")
        print()
        _show(verdicts)
        print("\nThe policy allows this plan." if allowed else "\nThe policy refuses this plan.")
    if not allowed:
        raise typer.Exit(RefusedError.exit_code)


def approve(
    path: PlanPath,
    folder: SiteDir = HERE,
    by: Annotated[str, typer.Option(help="Who approves; by default this user.")] = "",
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take an approval back.")] = False,
) -> None:
    """Record that this very plan is approved here. All other lines of the policy stay."""
    site = SiteFolder.open(folder)
    plan = load(path)
    name = plan_name(plan)
    action: Literal["approve", "withdraw"] = "withdraw" if withdraw else "approve"
    if withdraw and name not in approval.approved(site):
        raise UsageError("this plan is not approved, so there is nothing to take back.")
    approval.record(site, action, name, plan.name, by or _user(), utc_now())
    print(f"{'Withdrew' if withdraw else 'Approved'} plan '{plan.name}', hash {name}")
    if not withdraw and plan.secure_aggregation.enabled:
        print(f"Its approvals are good for {_runs(PolicyBook(site).policy().runs(plan))}.")


def _runs(count: int) -> str:
    return f"{count} runs in all" if count > 1 else "one run"


def _case(plan: Plan, book: PolicyBook, policy: Policy, base: "BaseFacts | None", members: int) -> Case:
    ledger = book.ledger_path(policy.settings)
    return Case(
        plan=plan,
        plan_hash=bound_hash(plan, base.hash) if base is not None else "",
        now=local_time(),
        sites=members,
        memory=base.size if base is not None else 0,
        epsilon_after=lambda delta: epsilon_after(ledger, plan, plan.rounds.count, 1, delta),
    )


def _base(plan: Plan) -> "tuple[BaseFacts | None, str]":
    """The base model's facts, or why they are not known here."""
    # Imported here because loading a model takes seconds.
    from sealora.client.base_facts import base_facts

    print(f"Reading the model {plan.model.name}", file=sys.stderr)
    try:
        return base_facts(plan), ""
    except ModelError as error:
        return None, str(error)


def _doubts(plan: Plan, policy: Policy, site: SiteFolder) -> list[str]:
    """Warnings from this site's own rows."""
    # Imported here because reading tables takes a second to load.
    from sealora.client.own_units import doubts

    return doubts(plan, policy.settings, site.path)


def _members(site: SiteFolder) -> int:
    """Members of the roster; 0 while there is none."""
    from sealora.client.pinned_roster import PinnedRoster

    roster = PinnedRoster(site).pinned
    return len(roster.members) if roster is not None else 0


def _show(verdicts: tuple[Verdict, ...]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("policy line", "this site allows", "the plan asks", "")
    for verdict in verdicts:
        mark = Text("allowed", "green") if verdict.allowed else Text("refused", "red")
        reason = f": {verdict.refusal}" if verdict.refusal else ""
        # What a plan says is no markup: a model's name could otherwise be shown as another's.
        table.add_row(verdict.line, Text(verdict.allows), Text(verdict.asks), mark.append(reason, "default"))
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(table)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise UsageError("this user has no name here.", "Say who approves with --by.") from None
