"""The user's cache: what can be made or fetched again, and is dear enough to keep."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$SEALORA_CACHE`, or `sealora` in `$XDG_CACHE_HOME` or in `~/.cache`; perhaps not there yet."""
    own = os.environ.get("SEALORA_CACHE", "")
    if own:
        return Path(own).expanduser()
    # The XDG base directory specification has relative paths ignored.
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (shared if shared.is_absolute() else Path("~/.cache").expanduser()) / "sealora"
