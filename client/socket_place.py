"""The Unix socket at which an agent listens, and who may connect to it.

By default only the agent's own user may. Where the link is another user, both are in a group, which is
given the right to connect, and to read the agent's figures beside the socket, and nothing else.
"""

import grp
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from sealora.protocol.errors import UsageError


@dataclass(frozen=True)
class SocketPlace:
    """Where the socket is, and the number of the group that may connect besides its owner; None for none."""

    path: Path
    group: int | None = None

    @classmethod
    def of(cls, path: Path, group: str = "") -> "SocketPlace":
        """The place for a group of that name, or for none.

        Raises UsageError as `require_free` does, or if there is no such group.
        """
        try:
            place = cls(path, grp.getgrnam(group).gr_gid if group else None)
        except KeyError:
            raise UsageError(
                f"there is no group {group!r} on this machine.", "Name another with --socket-group."
            ) from None
        place.require_free()
        return place

    def require_free(self) -> None:
        """Raises UsageError if anything but a socket is in the place: it would be lost."""
        if os.path.lexists(self.path) and not self.path.is_socket():
            raise UsageError(
                f"{self.path} exists and is no socket.", "Name a path for --socket that nothing else is at."
            )

    def listen(self) -> socket.socket:
        """A listening socket, in the place of one that was left behind. Raises UsageError."""
        self.require_free()
        self.path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.setblocking(False)
        try:
            self._bind(listener)
        except OSError as error:
            listener.close()
            raise UsageError(
                f"the socket {self.path} cannot be made ({error.strerror or error}).",
                "Choose a shorter path, in a folder that this user may write to"
                + (", and a group that it is in." if self.group is not None else "."),
            ) from None
        listener.listen()
        return listener

    def share(self, descriptor: int, mode: int) -> None:
        """Give an open file, made for its owner alone, to the group with this mode. Raises OSError."""
        if self.group is not None:
            os.fchown(descriptor, -1, self.group)
            os.fchmod(descriptor, mode)

    def _bind(self, listener: socket.socket) -> None:
        # Nobody can connect before it listens, so the group may be given its right first.
        mask = os.umask(0o177 if self.group is None else 0o117)
        try:
            listener.bind(str(self.path))
        finally:
            os.umask(mask)
        if self.group is not None:
            os.chown(self.path, -1, self.group, follow_symlinks=False)
