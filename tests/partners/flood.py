"""Strangers that wear a coordinator down: over bare TCP, TLS without a certificate, and HTTP/2."""

import contextlib
import socket
import ssl
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, RST_STREAM, PING, HEADERS = 4, 3, 6, 1
END_HEADERS, END_STREAM = 4, 1


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """RFC 9113, section 4.1."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


REQUESTS = b"".join(
    frame(HEADERS, END_HEADERS | END_STREAM, stream, b"\x83\x86\x84\x41\x01a")
    + frame(RST_STREAM, 0, stream, bytes(4))
    for stream in range(1, 200, 2)
)
"""A hundred requests, each taken back at once (CVE-2023-44487)."""
FRAMES = PREFACE + frame(SETTINGS) + frame(PING, payload=bytes(8)) * 1000 + REQUESTS


def silent(port: int) -> socket.socket:
    """Connects and says nothing."""
    return socket.create_connection(("127.0.0.1", port))


def garbled(port: int) -> socket.socket:
    """A record of TLS with garbage in it."""
    stranger = silent(port)
    stranger.sendall(b"\x16\x03\x01" + bytes(1000))
    return stranger


def in_clear(port: int) -> socket.socket:
    """HTTP/2 without TLS."""
    stranger = silent(port)
    stranger.sendall(FRAMES)
    return stranger


def without_certificate(port: int) -> socket.socket:
    """HTTP/2 over TLS 1.3, whose client may speak before its missing certificate is refused."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    plain = silent(port)
    plain.settimeout(5)
    try:
        stranger = context.wrap_socket(plain)
    except OSError:
        plain.close()
        raise
    try:
        stranger.sendall(FRAMES)
    except OSError:
        stranger.close()
        raise
    return stranger


KINDS = silent, garbled, in_clear, without_certificate


def flood(port: int, each: int) -> list[socket.socket]:
    """So many strangers of each kind, by turns; returns those that were not refused at once."""
    there = []
    for _ in range(each):
        for kind in KINDS:
            with contextlib.suppress(OSError):
                there.append(kind(port))
    return there
