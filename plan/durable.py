"""Files that a crash cannot tear, in folders of their own."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sealora.protocol.errors import UsageError


def write_durably(path: Path, content: bytes) -> None:
    """Write a file so that after a crash it has the old content or the new, and the new if this returned.

    Raises OSError if the disk refuses; the old content is then untouched.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names of a folder's new files durable, not only their contents."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait for, and hold, the lock that the file `path` stands for, among processes and threads."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make_private_folder(path: Path) -> None:
    """A new folder of mode 0700; an empty one will do. Raises UsageError if it cannot be had."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise UsageError(f"{path} is not empty.", "Choose a new folder.")
        path.chmod(0o700)
    except OSError as error:
        raise UsageError(f"{path} cannot be made ({error.strerror}).", "Choose another folder.") from None
    sync_folder(path.resolve().parent)
