"""Structured logs on standard error: JSON for machines, `key='value'` text for people."""

import logging
import sys
from typing import Any

import structlog

from csms_redis.settings import TelemetrySettings


def configure(settings: TelemetrySettings) -> None:
    """Send structlog's and the standard library's records to standard error, in one format."""
    terminal = sys.stderr.isatty()
    text = settings.log_format == "text" or (settings.log_format == "auto" and terminal)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[Any] = (
        # repr quotes what an outsider sent, so that no line can be forged
        [structlog.dev.ConsoleRenderer(colors=terminal, repr_native_str=True)]
        if text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelName(settings.log_level.upper())
        ),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.getLevelName(settings.log_level.upper()))
