"""Databases whose units of work are part of the trace of the call that is being answered."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from opentelemetry.trace import SpanKind, StatusCode, Tracer, get_current_span
from sqlalchemy import Connection

from mesh.database import Database

T = TypeVar("T")


class TracedDatabase(Database):
    """A database. The span of a unit of work has its time in the queue, and that of the commit, which units may share.

    Args:
        url: See `Database`.
        tracer: Begins spans.

    """

    def __init__(self, url: str, tracer: Tracer) -> None:
        """See `Database`."""
        super().__init__(url)
        self._tracer = tracer

    async def run(self, work: Callable[[Connection], T]) -> T:
        """See `Database`."""
        with self._working(work):
            return await super().run(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """See `Database`."""
        with self._working(work):
            return await super().read(work)

    @contextmanager
    def _working(self, work: Callable[..., Any]) -> Iterator[None]:
        if not get_current_span().is_recording():
            yield
            return
        function = work.func if isinstance(work, partial) else work
        name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
        attributes = {"db.system.name": self.engine.name, "code.function.name": name}
        span = self._tracer.start_span(f"{self.engine.name} unit of work", None, SpanKind.CLIENT, attributes)
        try:
            yield
        except BaseException as error:
            # Not what it says: that may have values of the request in it.
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR)
            raise
        finally:
            span.end()
