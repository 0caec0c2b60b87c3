"""How both sides set up the gRPC connection that carries a link: names, keepalive, limits, TLS.

The link is one bidirectional stream of frames, `sealora.link.v1.Link/Connect`, over mutual TLS 1.3.

This module is to be imported before gRPC, which has no setting for the version of TLS in Python. What it
has is a list of the suites of TLS 1.2, read when it is loaded: the one that stays here is for RSA
certificates, and those of a federation are ECDSA. The suites of TLS 1.3 are not affected.
"""

import os
import sys
from collections.abc import Mapping

from sealora.protocol.errors import RunError
from sealora.protocol.frames import MAX_FRAME_BYTES

SERVICE = "sealora.link.v1.Link"
METHOD = "Connect"
PATH = f"/{SERVICE}/{METHOD}"

SUITES = "GRPC_SSL_CIPHER_SUITES"
NONE_FOR_ECDSA = "ECDHE-RSA-AES128-GCM-SHA256"

KEEPALIVE_SECONDS = 20
"""Idle firewalls and proxies forget a connection after a minute, many after less."""
KEEPALIVE_PATIENCE_SECONDS = 10
"""In the middle of a transfer gRPC waits for a ping of its own instead, and that for a minute: behind
the megabytes in the buffers of a slow line it may take so long."""
HANDSHAKE_SECONDS = 10
IDLE_SECONDS = 10
"""A link opens its stream at once; a connection without one only takes the place of another."""
AGE_SECONDS = 60
"""After that a connection is good for no new stream, and ends with its last: questions that are refused
every few seconds keep none. A link's one stream is not touched."""

COMMON: Mapping[str, int] = {
    "grpc.max_receive_message_length": MAX_FRAME_BYTES,
    "grpc.max_send_message_length": MAX_FRAME_BYTES,
    "grpc.max_metadata_size": 4096,
    "grpc.keepalive_time_ms": KEEPALIVE_SECONDS * 1000,
    "grpc.keepalive_timeout_ms": KEEPALIVE_PATIENCE_SECONDS * 1000,
    "grpc.keepalive_permit_without_calls": 1,
    "grpc.http2.max_pings_without_data": 0,
}


def site_options() -> list[tuple[str, int]]:
    """Options of the channel that a site dials. Who dials again, and when, is the link's affair."""
    return [*COMMON.items(), ("grpc.enable_retries", 0)]


def coordinator_options(connections: int) -> list[tuple[str, int]]:
    """Options of the coordinator's server, for at most so many connections at a time."""
    limits = {
        "grpc.max_allowed_incoming_connections": connections,
        "grpc.max_concurrent_streams": 4,
        "grpc.server_handshake_timeout_ms": HANDSHAKE_SECONDS * 1000,
        "grpc.max_connection_idle_ms": int(IDLE_SECONDS * 1000),
        "grpc.max_connection_age_ms": int(AGE_SECONDS * 1000),
        "grpc.http2.min_ping_interval_without_data_ms": KEEPALIVE_SECONDS * 500,
        "grpc.so_reuseport": 0,
    }
    return [*COMMON.items(), *limits.items()]


def require_tls13() -> None:
    """Raises RunError if gRPC was loaded in this process before TLS 1.2 could be taken from it."""
    if os.environ.get(SUITES) != NONE_FOR_ECDSA:
        raise RunError(
            "gRPC was loaded before sealora, and would accept TLS 1.2.",
            f"Import sealora.protocol.transport first, or set {SUITES}={NONE_FOR_ECDSA}.",
        )


if "grpc" not in sys.modules:
    os.environ[SUITES] = NONE_FOR_ECDSA
