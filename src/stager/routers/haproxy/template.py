"""HAProxy's configuration file, from a Jinja template of the administrator's or Stager's own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import structlog

from stager.domain.errors import Fault
from stager.routers.jinja_templates import TemplateError, jinja_template

log = structlog.get_logger(__name__)

FIRST_STAGERS = "haproxy.cfg.erb"
"""The name in the first Stager's sample configuration, whose Ruby can't be run here."""

_SHIPPED = resources.files("stager.routers.haproxy").joinpath("templates").joinpath("haproxy.cfg")


@dataclass(frozen=True, slots=True)
class Site:
    """What is the same for all previews.

    Args:
        bind: HAProxy's address and its options, in the form of its `bind`.
        front: the front's address, as host and port.
        redirect: an address at which HTTP is redirected to HTTPS, in the form of `bind`; may be empty.
    """

    bind: str
    front: str
    redirect: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """A preview in the template.

    Args:
        slug: its label.
        host: the domain that it is under.
        port: its ingress port on 127.0.0.1.
    """

    slug: str
    host: str
    port: int


class ConfigTemplate:
    """The template of the configuration file.

    Args:
        name: the template's name, for errors.
        text: the template.
        folder: the folder from which it may include files.

    Raises:
        Fault: the template is invalid; the message has the line.
    """

    def __init__(self, name: str, text: str, folder: Path | None = None) -> None:
        self.name = name
        try:
            self._write = jinja_template(name, text, folder)
        except TemplateError as error:
            raise broken(str(error)) from error

    def render(self, site: Site, previews: Collection[Preview] = ()) -> str:
        """Render the file; the text ends with a line break.

        Raises:
            Fault: rendering failed.
        """
        values = {"bind": site.bind, "front": site.front, "redirect": site.redirect, "previews": previews}
        try:
            return self._write(values).rstrip("\n") + "\n"
        except TemplateError as error:
            raise broken(str(error)) from error


def shipped_template() -> ConfigTemplate:
    """Return Stager's own template."""
    return ConfigTemplate("haproxy.cfg", _SHIPPED.read_text(encoding="utf-8"))


def load_template(path: Path | None) -> ConfigTemplate:
    """Load the template from this file, or Stager's own if there is no file and no path, or the first
    Stager's.

    Raises:
        Fault: the file doesn't exist, can't be read, or isn't a Jinja template.
    """
    if path is not None and path.exists():
        if path.suffix == ".erb":
            raise broken(
                f"{path.name} is an ERB template, which isn't supported",
                "Write it as a Jinja template with another name. Without the file, Stager's own is used.",
            )
        return ConfigTemplate(path.name, _read(path), path.parent)
    if path is not None and path.name != FIRST_STAGERS:
        raise broken(f"{path} doesn't exist", "Without `haproxy.template_path`, Stager's own is used.")
    log.info("shipped_template_used", instead_of=str(path) if path else "")
    return shipped_template()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise broken(f"{path} can't be read: {error}") from error


def broken(what: str, hint: str = "", *, detail: str = "") -> Fault:
    """Return the error of a template that can't be used."""
    return Fault(f"haproxy.template_path: {what}.", hint=hint, reason="haproxy-template", detail=detail)
