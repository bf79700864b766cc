"""Structured logs on standard error: JSON for machines, `key='value'` text for people."""

import json
import logging
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import structlog

from csms_redis.settings import TelemetrySettings

SYSTEM_LOG = Path("/dev/log")
"""Where syslog or the journal listens."""

_AUTHPRIV = 10 << 3  # its facility for what concerns access
_UNFILTERED = structlog.make_filtering_bound_logger(logging.NOTSET)


def configure(settings: TelemetrySettings) -> None:
    """Send structlog's and the standard library's records to standard error, in one format.

    The libraries' records come through `logging`. Ours do not, which spares a write a tenth of its
    time.
    """
    text, level, shared = _is_text(settings), _level(settings), _shared()
    structlog.configure(
        processors=_ours(text=text),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *([_as_text()] if text else [*_as_json(), _decode]),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def always() -> Any:
    """A logger whose lines are written whatever `telemetry.log_level` says."""
    return structlog.wrap_logger(None, wrapper_class=_UNFILTERED)


def line(settings: TelemetrySettings, level: int, event: str, **values: Any) -> None:
    """Write one line in the same format, whatever else is logged or not.

    A terminal is no log, and a person reads something else there: then the line goes to the
    system's log, as JSON, if there is one.
    """
    if sys.stderr.isatty():
        _to_system(level, {"event": event, **values})
        return
    logger = structlog.wrap_logger(
        structlog.BytesLogger(sys.stderr.buffer),
        processors=_ours(text=_is_text(settings)),
        wrapper_class=_UNFILTERED,
    )
    logger.log(level, event, **values)


def _to_system(level: int, values: dict[str, Any]) -> None:
    """Send a line to syslog or the journal (RFC 3164), which adds the time."""
    severity = 4 if level >= logging.WARNING else 6
    with (
        suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as system,
    ):
        system.connect(str(SYSTEM_LOG))
        system.send(b"<%d>csms-redis: %b" % (_AUTHPRIV | severity, _dumps(values)))


def _is_text(settings: TelemetrySettings) -> bool:
    return settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())


def _level(settings: TelemetrySettings) -> int:
    return int(logging.getLevelName(settings.log_level.upper()))


def _shared() -> list[Any]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _as_text() -> Any:
    # repr quotes what an outsider sent, so that no line can be forged
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), repr_native_str=True)


def _as_json() -> list[Any]:
    as_json = structlog.processors.JSONRenderer(serializer=_dumps)
    return [structlog.processors.format_exc_info, as_json]


def _ours(*, text: bool) -> list[Any]:
    return [*_shared(), *([_as_text(), _encode] if text else _as_json())]


def _dumps(event: Any, **_options: Any) -> bytes:
    try:
        return orjson.dumps(event, default=repr)
    except orjson.JSONEncodeError:  # a file's name that is not UTF-8, for one; no line is lost
        return json.dumps(event, default=repr).encode()


def _encode(_logger: Any, _method: str, line: str) -> bytes:
    return line.encode(errors="backslashreplace")


def _decode(_logger: Any, _method: str, line: bytes) -> str:
    return line.decode()
