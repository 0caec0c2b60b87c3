"""What the commands of sites and of the coordinator have in common: folders, words, questions, files."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from sealora.plan.durable import write_durably
from sealora.protocol.errors import RefusedError, UsageError

SiteDir = Annotated[Path, typer.Option("--dir", envvar="SEALORA_SITE", help="The site's folder.")]
ServerDir = Annotated[Path, typer.Option("--dir", envvar="SEALORA_SERVER", help="The federation's folder.")]
HERE = Path()
Yes = Annotated[bool, typer.Option("--yes", help="The words were compared: do not ask.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def utc_now() -> datetime:
    """The time that certificates are checked against."""
    return datetime.now(UTC)


def show_words(title: str, words: str) -> None:
    """A fingerprint on standard error, four words a line, as it is read out."""
    print(f"{title}:", file=sys.stderr)
    for line in words.split("  "):
        print(f"    {line}", file=sys.stderr)


def confirm(question: str, yes: bool) -> None:
    """Ask somebody at the terminal, unless `yes` says that it was asked before.

    Raises: UsageError if nobody can be asked, RefusedError if the answer is no.
    """
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("nobody is here to compare the words.", "Compare them, and add --yes.")
    if not typer.confirm(question, err=True):
        raise RefusedError("not confirmed: nothing was changed.", "Find out why the words differ.")


def write_output(path: Path, content: bytes) -> None:
    """Write a file that is to be sent. Raises UsageError if it cannot be written."""
    try:
        write_durably(path, content)
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}).", "Name another file.") from None
