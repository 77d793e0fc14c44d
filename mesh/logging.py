"""Structured logs: one JSON object a line, on standard error."""

import logging
import sys
from datetime import UTC, datetime

import msgspec
import structlog
from structlog.typing import EventDict, WrappedLogger


def configure_logging(service: str) -> None:
    """Send everything that this process logs to standard error, as JSON lines that name the service."""
    structlog.configure(
        processors=[structlog.processors.format_exc_info, _render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    # What libraries log (grpc, sqlalchemy, alembic) takes the same form; of them only what is worth a look.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                lambda logger, level, event: _render(logger, level, event).decode(),
            ]
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    structlog.contextvars.bind_contextvars(service=service)


def _render(_logger: WrappedLogger, level: str, event: EventDict) -> bytes:
    """Return the line. One step rather than structlog's usual five, which take twice the time: each call is logged."""
    context = structlog.contextvars.get_contextvars()
    line = {**context, **event, "level": level, "timestamp": datetime.now(UTC)}
    return msgspec.json.encode(line, enc_hook=repr)
