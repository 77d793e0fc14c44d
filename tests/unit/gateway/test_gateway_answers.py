import asyncio
import gc
from typing import Any

import grpc
from grpc.aio import Metadata

from gateway.answers import AnswersRelay
from mesh.calls.call_record import CallRecord


class EndingCall:
    """A call to a backend that ends by itself in the moment in which it is cancelled."""

    def __init__(self) -> None:
        self.read_from = asyncio.Event()
        self._ended = asyncio.Event()

    async def initial_metadata(self) -> tuple[()]:
        return ()

    def done(self) -> bool:
        return self._ended.is_set()

    async def read(self) -> bytes:
        self.read_from.set()
        await self._ended.wait()
        raise grpc.aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, Metadata(), Metadata())

    def cancel(self) -> None:
        self._ended.set()


class LeftCall:
    """The call of somebody who has left."""

    async def send_initial_metadata(self, _metadata: object) -> None:
        pass

    async def abort(self, *_: object) -> None:
        raise RuntimeError("nobody is there")


async def test_an_end_that_comes_as_the_caller_leaves_is_no_error_in_the_log() -> None:
    reported = list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    call = EndingCall()
    context: Any = LeftCall()
    running = asyncio.create_task(AnswersRelay(call, CallRecord("/a.B/C"), context).run())
    await call.read_from.wait()
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    del running
    gc.collect()
    assert reported == []
