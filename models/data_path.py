"""Where a path in settings points."""

from pathlib import Path

from sealora.protocol.errors import DataError

REMEDY_PATH = "Check data.path."


def expand(source: str, setting: str = "data.path") -> Path:
    """The path, with the home folder for a leading `~`. Raises DataError if there is no such user."""
    try:
        return Path(source).expanduser()
    except RuntimeError:
        user = source.partition("/")[0]
        raise DataError(f"{source}: the home folder of {user} is not known.", f"Check {setting}.") from None
