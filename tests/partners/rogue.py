"""A client that says to a coordinator whatever a test wants it to."""

import socket
import ssl

import grpc

from sealora.protocol import frames
from sealora.protocol.certificates import Credentials
from sealora.protocol.frames import Hello, Welcome
from sealora.protocol.transport import PATH

SECONDS = 20


def say(port: int, credentials: Credentials, *first: bytes) -> tuple[Welcome | None, grpc.StatusCode, str]:
    """Send frames; returns the first that came back, if any, and how the stream ended."""
    tls = grpc.ssl_channel_credentials(credentials.authority, credentials.key, credentials.certificate)
    with grpc.secure_channel(f"127.0.0.1:{port}", tls) as channel:
        call = channel.stream_stream(PATH)(iter(first), timeout=SECONDS)
        welcome = None
        try:
            for raw in call:
                welcome = welcome or frames.parse(raw)
        except grpc.RpcError as error:
            return welcome, error.code(), error.details()
        return welcome, call.code(), call.details()


def hello(site: str, **options: object) -> bytes:
    return Hello(site, frames.new_id(), **options).serialise()


def handshake(port: int, credentials: tuple[str, str, str], version: ssl.TLSVersion) -> str:
    """The version of TLS that a handshake of at most `version` settles on. Raises OSError."""
    authority, certificate, key = credentials
    context = ssl.create_default_context(cafile=authority)
    context.load_cert_chain(certificate, key)
    context.maximum_version = version
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        return secure.version()
