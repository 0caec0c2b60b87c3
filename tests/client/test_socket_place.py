"""Who may connect to an agent's socket, and what is in its place beforehand."""

import grp
import os
import socket
import stat
import tempfile
import threading
from pathlib import Path

import pytest

from sealora.client.agent_figures import Counted, figures_path
from sealora.client.socket_place import SocketPlace
from sealora.protocol import messages
from sealora.protocol.errors import UsageError
from sealora.protocol.messages import Reason, Refusal

OWN = grp.getgrgid(os.getgid()).gr_name
NOBODY = 65534


def permissions(path):
    found = path.stat()
    return stat.S_IMODE(found.st_mode), found.st_gid


def test_only_the_owner_may_connect(tmp_path):
    with SocketPlace.of(tmp_path / "agent.sock").listen():
        assert permissions(tmp_path / "agent.sock")[0] == 0o600


def test_a_group_may_connect_and_read_the_figures(tmp_path):
    place = SocketPlace.of(tmp_path / "agent.sock", OWN)
    Counted(lambda request: request, place)
    with place.listen():
        assert permissions(place.path) == (0o660, os.getgid())
        assert permissions(figures_path(place.path)) == (0o640, os.getgid())


@pytest.mark.parametrize("name", ["agent.prom.partial", "agent.prom"])
def test_a_planted_link_leads_to_no_other_file(tmp_path, name):
    """Whoever may write to the socket's folder, as a link of the same user may, destroys nothing else."""
    key, place = tmp_path / "identity.pem", SocketPlace.of(tmp_path / "agent.sock", OWN)
    key.write_text("secret")
    key.chmod(0o600)
    counted = Counted(lambda _: messages.reply(Refusal(Reason.POLICY, "no")), place)
    for planted in (tmp_path / name, tmp_path / f"{name}.{os.getpid()}.{threading.get_ident()}"):
        planted.unlink(missing_ok=True)
        planted.symlink_to(key)
    counted(b"")
    assert key.read_text() == "secret"
    assert permissions(key)[0] == 0o600
    assert b"sealora_refusals_total 1.0" in figures_path(place.path).read_bytes()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be other users")
@pytest.mark.parametrize("member", [True, False])
def test_a_link_that_is_another_user_needs_the_group(member):
    group = 65533
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chown(folder, -1, group)
        Path(folder).chmod(0o750)
        place = SocketPlace(Path(folder, "agent.sock"), group)
        Counted(lambda request: request, place)
        with place.listen():
            assert as_another_user(place.path, [group] if member else []) is member


def as_another_user(path, groups):
    """Whether another user with these groups can connect and read the figures, tried in a child."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(groups)
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            socket.socket(socket.AF_UNIX).connect(str(path))
            figures_path(path).read_bytes()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_group_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="no group 'nowhere-to-be-found'"):
        SocketPlace.of(tmp_path / "agent.sock", "nowhere-to-be-found")


def test_a_socket_that_was_left_behind_is_replaced(tmp_path):
    path = tmp_path / "agent.sock"
    SocketPlace(path).listen().close()
    with SocketPlace.of(path).listen(), socket.socket(socket.AF_UNIX) as link:
        link.connect(str(path))


@pytest.mark.parametrize("kind", ["file", "folder", "dangling link"])
def test_what_is_no_socket_is_never_replaced(tmp_path, kind):
    path = tmp_path / "records.csv"
    make = {"file": lambda: path.write_text("text,label\n"), "folder": path.mkdir}
    make.get(kind, lambda: path.symlink_to("nowhere"))()
    for listen in (SocketPlace.of, lambda path: SocketPlace(path).listen()):
        with pytest.raises(UsageError, match=r"records\.csv exists and is no socket\. Name a path"):
            listen(path)
    assert os.path.lexists(path)
    assert not path.is_socket()
