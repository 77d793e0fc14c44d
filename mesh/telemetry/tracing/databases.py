"""Units of work on databases as part of the trace of the call that is being answered."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from opentelemetry.trace import SpanKind, StatusCode, Tracer, get_current_span


class UnitSpans:
    """Makes spans of units of work: of the time in the queue, too, and that of the commit, which units may share.

    Args:
        tracer: Begins spans.

    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def around(self, system: str, work: Callable[..., Any]) -> Iterator[None]:
        """Make a span as long as the context lasts, if the call is recorded. See `Database`."""
        if not get_current_span().is_recording():
            yield
            return
        function = work.func if isinstance(work, partial) else work
        name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
        attributes = {"db.system.name": system, "code.function.name": name}
        span = self._tracer.start_span(f"{system} unit of work", None, SpanKind.CLIENT, attributes)
        try:
            yield
        except BaseException as error:
            # Not what it says: that may have values of the request in it.
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR)
            raise
        finally:
            span.end()
