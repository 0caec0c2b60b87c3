"""`sealora predict`: a finished run's model on new texts."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sealora.protocol.errors import UsageError

MAX_BYTES = 1_000_000_000


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder.")],
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts, one an argument.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Read texts from a file, one a line.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Use a trained adapter on new texts: arguments, a file, or standard input, one text a line.

    Example: sealora predict runs/demo 'A delight from start to finish.'
    """
    chosen = texts_of(texts or [], file)
    # Imported here because torch and transformers take seconds.
    import sealora

    loaded = sealora.Run.load(run)
    for text, prediction in zip(chosen, loaded.predict(chosen), strict=True):
        line = f"{loaded.task.line(prediction)}\t{text}"
        print(json.dumps({"text": text, **prediction}) if as_json else line)


def texts_of(texts: Sequence[str], file: Path | None) -> list[str]:
    """The texts from wherever they come, empty lines left out. Raises UsageError if there are none."""
    if texts and file:
        raise UsageError("both texts and --file were given.", "Give one of them.")
    lines = list(texts) if texts else (_read(file) if file else _standard_input()).splitlines()
    chosen = [line.strip() for line in lines if line.strip()]
    if not chosen:
        raise UsageError(
            "there is no text to predict.", "Give texts as arguments, with --file, or on standard input."
        )
    return chosen


def _standard_input() -> str:
    """All of it, whatever the locale is; empty if it is closed. Raises UsageError."""
    try:
        raw = sys.stdin.buffer.read(MAX_BYTES + 1) if sys.stdin is not None else b""
    except OSError as error:
        raise UsageError(f"standard input cannot be read ({error.strerror}).") from None
    if len(raw) > MAX_BYTES:
        raise UsageError(f"standard input is longer than {MAX_BYTES:,} bytes.", "Split it.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError("standard input is not UTF-8.", "Convert it to that encoding.") from None


def _read(file: Path) -> str:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise UsageError(f"{file} is larger than {MAX_BYTES:,} bytes.", "Split it.")
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{file} is not UTF-8.", "Save it in that encoding.") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be read ({error.strerror}).") from None
