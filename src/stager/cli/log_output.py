"""Logging of the server: one line per event, as JSON, or as text on a terminal."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Literal

from stager.fast_import import absent

with absent("rich"):  # 50 ms of processor time and 7 MB for tracebacks that `configure` replaces
    import structlog

Format = Literal["auto", "json", "text"]


def configure(form: Format, file: Path | None = None) -> None:
    """Write all logs, also those of libraries, to standard error.

    Args:
        file: write to this file instead.
    """
    text = form == "text" or (form == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,  # the default shows variables: secrets
        )
        if text
        else structlog.processors.JSONRenderer()
    )
    errors = [] if text else [structlog.processors.format_exc_info]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    handler = logging.FileHandler(file) if file else logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *errors, last],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("stager").setLevel(logging.INFO)
