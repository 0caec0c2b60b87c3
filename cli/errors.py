"""How a command ends: an exit code, and at most a few clear lines instead of a traceback.

Exit codes: 0 done, 1 the run failed, 2 bad usage or plan, 3 refused by policy or budget, 130
interrupted. With `--json` among the arguments the error is also printed as JSON on standard output.
"""

import errno
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence

import click

from sealora import __version__
from sealora.protocol.errors import SealoraError
from sealora.protocol.visible import visible

INTERRUPTED = 130
_EVERYDAY = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
}
"""Failures of the system that are no bugs, so that nobody needs a traceback."""


def guard(command: Callable[[], object], arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; every exception ends here as one clear message."""
    as_json = "--json" in arguments
    try:
        result = command()
    except SealoraError as error:
        return report(str(error), type(error).__name__, error.exit_code, as_json)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        return report(_usage(error), "UsageError", error.exit_code, as_json)
    except (KeyboardInterrupt, click.Abort):
        result = INTERRUPTED
    except Exception as error:
        return report(_unexpected(error), type(error).__name__, 1, as_json)
    if result == INTERRUPTED:
        return report("interrupted.", "KeyboardInterrupt", INTERRUPTED, as_json)
    return result if isinstance(result, int) else 0


def report(message: str, kind: str, exit_code: int, as_json: bool) -> int:
    """Print an error, one `error:` for each line of the message, and return the exit code.

    A message may quote another party: it moves no cursor and clears no line.
    """
    if as_json:
        print(json.dumps({"error": {"kind": kind, "message": message, "exit_code": exit_code}}))
    for line in message.splitlines():
        print(f"{_label()} {visible(line)}", file=sys.stderr)
    return exit_code


def _label() -> str:
    colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    return "\x1b[1;31merror:\x1b[0m" if colour else "error:"


def _usage(error: click.ClickException) -> str:
    message = " ".join(error.format_message().split())
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"{message} See `{context.command_path} --help`." if context is not None else message


def _unexpected(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in _EVERYDAY:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{_EVERYDAY[error.errno]}. Free space, or choose another place to write to."
    summary = " ".join(str(error).split())[:200]
    return f"unexpected {type(error).__name__}: {summary} (this is a bug; {_crash_report()})"


def _crash_report() -> str:
    """Write the traceback of the exception at hand to a file that only its owner reads."""
    try:
        handle, path = tempfile.mkstemp(prefix="sealora-crash-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"sealora {__version__}, Python {sys.version}, {sys.platform}\n\n")
            file.write(traceback.format_exc())
    except OSError:
        return "its traceback could not be saved"
    return f"its traceback is in {path}"
