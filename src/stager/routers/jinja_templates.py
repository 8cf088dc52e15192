"""Jinja templates of a proxy's configuration. Errors have the line of the template."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from traceback import extract_tb
from types import TracebackType

import jinja2

Write = Callable[[Mapping[str, object]], str]


class TemplateError(Exception):
    """A template is invalid, or can't be rendered with the given values."""


def jinja_template(name: str, text: str, folder: Path | None = None) -> Write:
    """Return a function that renders the template.

    Args:
        name: the template's name, for errors.
        text: the template.
        folder: the folder from which it may include files.

    Raises:
        TemplateError: it is invalid. The function raises it as well.
    """
    environment = jinja2.Environment(  # noqa: S701 (the output isn't HTML)
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FileSystemLoader(folder) if folder else None,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    try:
        template = environment.from_string(text)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(f"{name}, line {error.lineno}: {error.message}") from error

    def write(values: Mapping[str, object]) -> str:
        try:
            return template.render(values)
        except Exception as error:  # a template can raise any exception
            raise TemplateError(f"{name}, line {_line_of(error.__traceback__)}: {error}") from error

    return write


def _line_of(traceback: TracebackType | None) -> int:
    """Return the line of the template that failed; Jinja adds it to the traceback."""
    lines = [frame.lineno for frame in extract_tb(traceback) if frame.filename == "<template>"]
    return (lines[-1] if lines else None) or 1
