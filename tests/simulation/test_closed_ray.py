"""What closes Ray leaves nothing behind, and an open Ray is refused. What strangers meet: test_ray.py."""

import os

import pytest

pytest.importorskip("ray")

import ray
from ray._raylet import AuthenticationMode, get_authentication_mode

from sealora.protocol.errors import RunError
from sealora.simulation.closed_ray import closed_ray, require_closed

pytestmark = pytest.mark.slow  # for Ray's import
MINE = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/my/token"}


def rays():
    return {name: value for name, value in os.environ.items() if name.startswith("RAY_")}


@pytest.fixture
def node(monkeypatch):
    """Ray says that it runs at this address."""

    def at(address):
        monkeypatch.setattr(ray, "nodes", lambda: [{"NodeManagerAddress": address}])

    return at


def test_every_run_has_a_token_and_a_folder_of_its_own():
    tokens, folders = set(), set()
    before = rays()
    for _ in range(2):
        with closed_ray() as path:
            folder = path.parent
            assert folder.stat().st_mode & 0o777 == 0o700
            assert get_authentication_mode() == AuthenticationMode.TOKEN
            tokens.add(os.environ["RAY_AUTH_TOKEN"])
            folders.add(folder)
        assert rays() == before
        assert get_authentication_mode() == AuthenticationMode.DISABLED
    assert len(tokens) == len(folders) == 2
    assert not any(folder.exists() for folder in folders)


def test_what_the_user_has_set_for_a_cluster_is_there_again(monkeypatch):
    for name, value in MINE.items():
        monkeypatch.setenv(name, value)
    before = rays()

    def interrupted():
        with closed_ray():
            assert "RAY_AUTH_TOKEN_PATH" not in os.environ
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert rays() == before


def test_an_open_ray_is_an_error(node):
    node("192.0.2.7")
    with closed_ray(), pytest.raises(RunError, match=r"open to others \(it listens on 192\.0\.2\.7\)"):
        require_closed()
    node("127.0.0.1")
    with closed_ray():
        require_closed()
    with pytest.raises(RunError, match="open to others"):
        require_closed()
