"""Closes the Ray that a run starts to everyone else: loopback, a token, and a folder of its own.

Whoever reaches Ray's servers can have them run code, and read what actors hold. By itself Ray listens on
every address of the machine, asks nobody who he is, and keeps its sockets in a folder that all may write.
A cluster at an address is closed, or not, by those who run it: nothing here touches that.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import ray
from ray._common.utils import get_default_system_temp_dir
from ray._private import ray_constants
from ray._raylet import (  # type: ignore[attr-defined]  # compiled, and its stub lacks them
    AuthenticationMode,
    AuthenticationTokenLoader,
    Config,
    get_authentication_mode,
)

from sealora.protocol.errors import RunError

LOOPBACK = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
"""Ray's switch for listening beyond the machine. Off is its default elsewhere than on Linux."""
TOKEN_BYTES = 32
OTHER_TOKENS = ("RAY_AUTH_TOKEN_PATH",)
"""Where Ray would look for a token, too."""


@contextmanager
def closed_ray() -> Iterator[Path]:
    """Inside, a Ray that starts is closed; yields the path for its files, which are gone afterwards.

    Ray's servers inherit the token in their environment, which nobody else can read; it is in no file and
    no command. Before and after, the environment is the caller's, and so is Ray's view of it.
    """
    before, beyond = dict(os.environ), ray_constants.ENABLE_RAY_CLUSTER
    # Where Ray itself would have it, for the paths of its sockets are limited to a hundred characters.
    folder = Path(tempfile.mkdtemp(prefix="sealora-ray-", dir=get_default_system_temp_dir()))  # type: ignore[no-untyped-call]
    try:
        for name in OTHER_TOKENS:
            os.environ.pop(name, None)
        os.environ |= {
            LOOPBACK: "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(TOKEN_BYTES),
        }
        ray_constants.ENABLE_RAY_CLUSTER = False  # what the environment says is read at Ray's import alone
        _read_again()
        # Ray lets everybody write into the folder that it is given, so that has to be behind another.
        yield folder / "ray"
    finally:
        for name in (LOOPBACK, "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", *OTHER_TOKENS):
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]
        ray_constants.ENABLE_RAY_CLUSTER = beyond
        _read_again()
        shutil.rmtree(folder, ignore_errors=True)


def require_closed() -> None:
    """Raises RunError unless the Ray that has started is closed, as `closed_ray` promises."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    addresses = [node["NodeManagerAddress"] for node in nodes]
    beyond = [address for address in addresses if not ip_address(address).is_loopback]
    if beyond or get_authentication_mode() != AuthenticationMode.TOKEN:
        raise RunError(
            f"Ray would be open to others (it listens on {', '.join(addresses)}).",
            "Let the name localhost stand for 127.0.0.1 on this machine, or simulate with --engine local.",
        )


def _read_again() -> None:
    """Have Ray heed the environment as it is now."""
    AuthenticationTokenLoader.instance().reset_cache()
    Config.initialize("")
