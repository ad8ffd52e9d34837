"""Logging: structlog as JSON lines on standard error; events are named `entity.action` and never hold secrets."""

from __future__ import annotations

import logging
import re
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

#: Names of values that are never written, and the shapes of our own secrets wherever they turn up.
SECRET_NAMES = re.compile(
    r"(?:^|_)(?:password|secret|token|authorization|cookie|pepper|api_key|license_key|agent_key|secret_key)$",
    re.IGNORECASE,
)
SECRET_SHAPES = re.compile(
    r"pm_(?:test_)?(?:ak|sk|pk)_[A-Za-z0-9_]+|whsec_[A-Za-z0-9+/=]+|\b(?:[0-9A-Z]{5}-){4}[0-9A-Z]{5}\b"
)
REDACTED = "[redacted]"


def redact_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Blank values under telling names, and anything that looks like one of our keys in any text."""
    for name, value in event.items():
        if SECRET_NAMES.search(name):
            event[name] = REDACTED
        elif isinstance(value, str):
            event[name] = SECRET_SHAPES.sub(REDACTED, value)
    return event


SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
    redact_secrets,
]


def logging_config(*, level: str) -> dict[str, Any]:
    """Django's `LOGGING`, and structlog set up to write through it."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.JSONRenderer(),
                ],
                "foreign_pre_chain": SHARED,
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # One line for each refused call would drown the log; failures (5xx) still come with their traceback.
            "django.request": {"level": logging.ERROR},
            "psycopg.pool": {"level": logging.ERROR},
        },
    }
