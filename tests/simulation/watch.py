"""Stops every connection of this process to another machine, and remembers it (PEP 578 audit hooks)."""

import sys
from contextlib import contextmanager
from ipaddress import ip_address

STOPPED = []
"""What was tried while `nobody_is_called` was in force."""
_watching = [False]
_installed = []
HERE = ("localhost", "", None)


class CalledOut(Exception):
    """A connection to another machine."""


def _here(host):
    if isinstance(host, bytes):
        host = host.decode()
    if host in HERE:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False  # a name, which somebody would have to be asked for


def _hook(event, arguments):
    if not _watching[0]:
        return
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # else a socket in the file system
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if not _here(host):
        STOPPED.append((event, host))
        raise CalledOut(f"{event} {host}")


@contextmanager
def nobody_is_called():
    """Inside, connections and look-ups of names that leave the machine raise CalledOut."""
    if not _installed:
        sys.addaudithook(_hook)  # for good: such hooks cannot be removed
        _installed.append(True)
    STOPPED.clear()
    _watching[0] = True
    try:
        yield STOPPED
    finally:
        _watching[0] = False
