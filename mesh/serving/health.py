"""Tells how a server and its services are (grpc.health.v1)."""

import asyncio
from typing import NoReturn

from grpc_health.v1 import health_pb2, health_pb2_grpc

from mesh.calls.wrapping import Context
from mesh.errors import Code, ServiceError


class HealthNotFound(ServiceError):
    """Nothing tells its health under this name: not the server, which has the empty name, nor a service of its own."""

    code = Code.NOT_FOUND


class HealthServicer(health_pb2_grpc.HealthServicer):
    """Answers checks, and tells watches of each change.

    The one that gRPC brings along writes to a watch under a lock: a stranger who watches and does not read would keep
    all others, and the server's own stop, waiting. Here each watch waits for nobody but its own reader.
    """

    def __init__(self) -> None:
        self._statuses = dict[str, int]()
        self._changed = asyncio.Event()
        self._final = False

    def set(self, name: str, *, serving: bool) -> None:
        """Tell how it is with what is called so; empty is the whole server. After `end` nothing changes."""
        if self._final:
            return
        self._statuses[name] = _status(serving=serving)
        self._tell()

    def end(self) -> None:
        """Tell that nothing serves any more. This is final."""
        self._final = True
        self._statuses = dict.fromkeys(self._statuses, _status(serving=False))
        self._tell()

    async def Check(  # noqa: N802 - named by the contract, as below
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """Say how it is now.

        Raises:
            HealthNotFound: If nothing is called so.

        """
        del context
        status = self._statuses.get(request.service)
        if status is None:
            raise HealthNotFound(
                "nothing here tells its health under this name: the empty name is this server as a whole, and services "
                "behind it are asked where they are"
            )
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> NoReturn:  # noqa: N802
        """Say how it is now, and from then on what it has become; a slow reader misses what was meanwhile."""
        told = None
        while True:
            changed = self._changed
            status = self._statuses.get(request.service, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
            if status != told:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                told = status
            await changed.wait()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _status(*, serving: bool) -> int:
    response = health_pb2.HealthCheckResponse
    return response.SERVING if serving else response.NOT_SERVING
