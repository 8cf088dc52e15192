"""Prints the errors of `stager up`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from stager.domain.errors import StagerError


@contextmanager
def reported() -> Iterator[None]:
    """Print the errors of the block, and end the command.

    Raises:
        typer.Exit: with 1 after an error, and with 130 after Ctrl-C.
    """
    try:
        yield
    except StagerError as error:
        fail("\n".join(filter(None, (str(error), error.detail))))
    except (KeyboardInterrupt, typer.Abort):
        raise typer.Exit(130) from None
    except Exception as error:
        from stager.settings.loading.problems import ConfigurationError  # noqa: PLC0415 (slow)

        if not isinstance(error, ConfigurationError):
            raise
        fail(str(error))


def fail(sentence: str) -> NoReturn:
    """Print an error, and end the command with 1."""
    typer.echo(f"stager: {sentence}", err=True)
    raise typer.Exit(1)
