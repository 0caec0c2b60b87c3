"""The standard gRPC health service, of which the coordinator answers one question: `Check`.

`Watch` is left out: a watcher holds a connection for good, also after its certificate was revoked.
"""

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from sealora.protocol.errors import ProtocolError

SERVICE = "grpc.health.v1.Health"
METHOD = "Check"


def answer(question: bytes, services: tuple[str, ...]) -> bytes | None:
    """SERVING for one of the services, None for others. Raises ProtocolError("malformed")."""
    try:
        request = health_pb2.HealthCheckRequest.FromString(question)
    except DecodeError:
        raise ProtocolError("malformed", "not a question of the health service") from None
    if request.service not in services:
        return None
    serving = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
    return bytes(serving.SerializeToString())
