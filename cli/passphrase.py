"""Where commands take passphrases from: a file, the environment, or a prompt; never the command line."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from sealora.plan.key_files import is_protected, read_secret
from sealora.protocol.errors import UsageError

VARIABLE = "SEALORA_PASSPHRASE"

PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        help=f"File (mode 0600) with the keys' passphrase; or set {VARIABLE}, or be asked for it.",
    ),
]


def new_passphrase(file: Path | None, ask: bool) -> bytes | None:
    """A passphrase for new keys; None leaves them to the mode of their files."""
    given = _given(file)
    if given is None and ask:
        return str(typer.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True)).encode()
    return given


def passphrase_for(key: Path, file: Path | None) -> bytes | None:
    """The passphrase of existing keys, asked for at a terminal; None if `key` wants none."""
    if not is_protected(key):
        return None
    given = _given(file)
    if given is None and sys.stdin is not None and sys.stdin.isatty():
        return str(typer.prompt("Passphrase", hide_input=True, err=True)).encode()
    return given


def _given(file: Path | None) -> bytes | None:
    if file is not None:
        passphrase = read_secret(file).rstrip(b"\r\n")
        if not passphrase:
            raise UsageError(f"{file} holds no passphrase.")
        return passphrase
    return os.environ.get(VARIABLE, "").encode() or None
