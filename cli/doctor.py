"""`sealora doctor`: what this machine has, what is missing, and what to do about it."""

import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

import typer
from packaging.requirements import Requirement

from sealora.models.assets import ASSETS, find
from sealora.protocol.keystream import Keystream

Status = Literal["ok", "warn", "fail"]
COLOURS = {"ok": typer.colors.GREEN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}
GIB = 2**30
NETWORK_SECONDS = 5.0


@dataclass(frozen=True)
class Check:
    """One line of the report. `fail` means that Sealora cannot work; `warn` that something is missing."""

    name: str
    status: Status
    found: str
    remedy: str = ""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    network: Annotated[bool, typer.Option("--network", help="Also try to reach the model hub.")] = False,
) -> None:
    """Check this machine: Python, packages, devices, bundled assets, and what to do about gaps."""
    checks = list(examine(network))
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        _print(checks)
    if any(check.status == "fail" for check in checks):
        raise typer.Exit(1)


def examine(network: bool) -> Iterator[Check]:
    """All checks, in the order of the report. Asks the network only if `network`."""
    yield python()
    yield Check("system", "ok", platform.platform())
    yield processors()
    yield memory()
    yield disk(Path.cwd())
    yield from packages()
    yield torch_devices()
    yield keystream_speed()
    yield from bundled_assets()
    yield hub(os.environ, reach_hub if network else None)


def python(version: tuple[int, int, int] = sys.version_info[:3]) -> Check:
    """Whether Python is new enough."""
    found = f"{'.'.join(map(str, version))} at {sys.executable}"
    return _judge("python", version >= (3, 11, 0), found, "Install Python 3.11 or newer.", otherwise="fail")


def processors() -> Check:
    """Logical CPUs that this process may use."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return _judge("processors", count > 1, str(count), "Set training.threads = 1 in the plan.")


def memory() -> Check:
    """Physical memory, where the system tells."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    except (AttributeError, OSError, ValueError):
        return Check("memory", "ok", "unknown: this system does not tell")
    return _judge("memory", total >= 4, f"{total:.1f} GiB", "Take a small model and small batches.")


def disk(folder: Path) -> Check:
    """Free space where runs would be written."""
    free = shutil.disk_usage(folder).free / GIB
    return _judge("disk", free >= 1, f"{free:.1f} GiB free in {folder}", "Free some space, or run elsewhere.")


def packages(name: str = "sealora") -> Iterator[Check]:
    """Every package that `name` requires, and those that only its scale-out simulation does."""
    for line in metadata.requires(name) or ():
        requirement = Requirement(line)
        if _applies(requirement, ""):
            yield package(requirement, "fail", f"Run `pip install --upgrade {name}`.")
        elif _applies(requirement, "simulation"):
            yield package(requirement, "warn", f"For simulation on Ray: pip install '{name}[simulation]'.")
    yield package(Requirement("ray"), "warn", f"For simulation on Ray: pip install '{name}[simulation]'.")


def package(requirement: Requirement, otherwise: Status, remedy: str) -> Check:
    """Whether the installed version is one that the requirement allows."""
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return Check(requirement.name, otherwise, "not installed", remedy)
    fits = requirement.specifier.contains(version, prereleases=True)
    found = version if fits else f"{version}, but {requirement.specifier} is needed"
    return _judge(requirement.name, fits, found, remedy, otherwise)


def torch_devices() -> Check:
    """Whether PyTorch loads, and what it can compute on."""
    try:
        # Loading PyTorch takes seconds and can fail in its own ways, so it is a check of its own.
        import torch
    except (ImportError, OSError) as error:
        reason = str(error).splitlines()[0]
        return Check(
            "devices", "fail", f"PyTorch does not load: {reason}", "Reinstall torch for this system."
        )
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    return Check("devices", "ok", ", ".join([*devices, f"cpu ({torch.get_num_threads()} threads)"]))


def keystream_speed(words: int = 2**22) -> Check:
    """Speed of the masks' keystream: the best of three runs over `words` 32-bit words."""
    stream = Keystream(bytes(32))
    seconds = min(_seconds(lambda: stream.words32(words)) for _ in range(3))
    speed = 4 * words / seconds / 1e9
    remedy = "Masking will be slow: a processor with AES instructions does more than 1 GB/s."
    return _judge("keystream", speed >= 0.3, f"AES-256-CTR at {speed:.2f} GB/s", remedy)


def bundled_assets() -> Iterator[Check]:
    """Which bundled models and data sets are installed; the demo and the tests need them."""
    for asset in ASSETS:
        path = find(asset)
        remedy = f"Run `sealora assets {asset.name}`."
        yield _judge(f"bundled:{asset.name}", path is not None, str(path or "not installed"), remedy)


def hub(environment: Mapping[str, str], reach: Callable[[], str] | None) -> Check:
    """Whether models can come from a hub. `reach` names the hub that answers, or raises OSError."""
    if environment.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return Check("hub", "ok", "offline (HF_HUB_OFFLINE is set): bundled, local and cached models only")
    if reach is None:
        return Check("hub", "ok", "not tried; --network tries it")
    try:
        return Check("hub", "ok", f"{reach()} answers")
    except OSError as error:
        remedy = "Use bundled: or local models and set HF_HUB_OFFLINE=1, or set HF_ENDPOINT to a mirror."
        return Check("hub", "warn", f"no answer: {error}", remedy)


def reach_hub() -> str:
    """Address of the model hub, once it has answered. Raises OSError if it does not."""
    import httpx
    from huggingface_hub.constants import ENDPOINT

    try:
        httpx.head(ENDPOINT, timeout=NETWORK_SECONDS, follow_redirects=True).raise_for_status()
    except httpx.HTTPError as error:
        raise OSError(f"{ENDPOINT}: {error}".splitlines()[0]) from None
    return ENDPOINT


def _judge(name: str, good: bool, found: str, remedy: str, otherwise: Status = "warn") -> Check:
    return Check(name, "ok", found) if good else Check(name, otherwise, found, remedy)


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _print(checks: list[Check]) -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        status = typer.style(f"{check.status:<4}", fg=COLOURS[check.status])
        typer.echo(
            f"{status}  {check.name:<{width}}  {' '.join((check.found, '-', check.remedy)).rstrip(' -')}"
        )
    counts = {status: sum(check.status == status for check in checks) for status in COLOURS}
    typer.echo(f"{counts['ok']} ok, {counts['warn']} to improve, {counts['fail']} missing")
