"""The standard gRPC health service, for those who may open the link and nobody else.

`Watch` is left out: a watcher holds a connection for good, also after its certificate was revoked.
"""

from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sealora.protocol.errors import ProtocolError

SERVING = health_pb2.HealthCheckResponse.SERVING


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # gRPC has no types
    """Answers `Check`. `identify` raises ProtocolError for a peer that is not let in."""

    def __init__(self, services: tuple[str, ...], identify: Callable[[Any], str]) -> None:
        self._services = services
        self._identify = identify

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 - the service's own name
        """SERVING for a known service, or the status that tells what is wrong."""
        try:
            self._identify(context)
        except ProtocolError as error:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, error.message)
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return health_pb2.HealthCheckResponse(status=SERVING)
