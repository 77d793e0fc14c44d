"""Reads the messages of callers where a refusal can still be answered."""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError

from mesh.calls.wrapping import Context, Handler, rebuilt
from mesh.errors import InvalidRequest


class MessageInterceptor:
    """Refuses bytes that are no message of the method's type.

    grpc.aio reads the one message of a call before any interceptor runs, and answers UNKNOWN if it can't. So here the
    message comes in as bytes, and is read last: a caller who may not call a method is told that first.
    """

    def intercept(self, _path: str, handler: Handler | None) -> Handler | None:
        """Replace the handler, if it takes messages."""
        if handler is None or handler.request_deserializer is None:
            return handler
        read = _refusing(handler.request_deserializer)
        if handler.request_streaming:  # its messages are read as the handler asks for them
            return rebuilt(handler, handler.stream_unary or handler.stream_stream, read)
        behavior: Any = handler.unary_unary or handler.unary_stream

        def answer(request: bytes, context: Context) -> Any:  # noqa: ANN401 - an awaitable or a generator of any message
            return behavior(read(request), context)

        return rebuilt(handler, answer, None)


def _refusing(deserializer: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def read(request: bytes) -> Any:  # noqa: ANN401 - any message
        try:
            return deserializer(request)
        except DecodeError as error:
            # As in a field mask, the star is the whole message.
            raise InvalidRequest({"*": "must be a message of the method's type, in protobuf's binary form"}) from error

    return read
