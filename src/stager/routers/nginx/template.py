"""nginx's configuration: the vhost file of a preview, from a template of the administrator's or Stager's own,
and the one server for all previews.

A template is Jinja, or, if its name ends with `.erb`, a template of the first Stager, of which only the three
substitutions are supported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import structlog

from stager.domain.errors import Fault
from stager.routers.jinja_templates import TemplateError, Write, jinja_template
from stager.routers.nginx.commands import Http2

log = structlog.get_logger(__name__)

SHIPPED = "nginx.conf.erb"
VARIABLES = ("slug", "host", "port")

_TAG = re.compile(r"<%(.*?)(?:%>|\Z)", re.DOTALL)
_FOLDER = resources.files("stager.routers.nginx").joinpath("templates")


class VhostTemplate:
    """The template of a vhost file.

    Args:
        name: the template's name, for errors.
        text: the template.
        folder: the folder from which a Jinja template may include files.

    Raises:
        Fault: the template is invalid; the message has the line.
    """

    def __init__(self, name: str, text: str, folder: Path | None = None) -> None:
        self.name = name
        self._write = _erb(name, text) if name.endswith(".erb") else _jinja(name, text, folder)

    def render(self, *, slug: str, host: str, port: int) -> str:
        """Render the vhost file; the text ends with a line break.

        Args:
            slug: the preview's label.
            host: the domain of the preview, without port.
            port: the ingress port on 127.0.0.1.

        Raises:
            Fault: rendering failed.
        """
        return self._write({"slug": slug, "host": host, "port": str(port)}).rstrip("\n") + "\n"


def load_template(path: Path | None) -> VhostTemplate:
    """Load the template from this file, or Stager's own if there is no file and the name is `SHIPPED`.

    Raises:
        Fault: the file doesn't exist, can't be read, or isn't a template.
    """
    name = path.name if path else SHIPPED
    if path is not None and path.exists():
        return VhostTemplate(name, _read(path), path.parent)
    if name != SHIPPED:
        raise _broken(
            f"{path} doesn't exist", f"Stager's own template is used only if the name is {SHIPPED}."
        )
    log.info("shipped_template_used", instead_of=str(path) if path else "")
    return VhostTemplate(name, _FOLDER.joinpath(SHIPPED).read_text(encoding="utf-8"))


def server_for_all(
    *,
    front: str,
    names: Sequence[str],
    listen: Sequence[str],
    certificate: str = "",
    key: str = "",
    redirect: Sequence[str] = (),
    http2: Http2 = "listen",
) -> str:
    """Return the nginx configuration that forwards all requests to the front.

    Args:
        front: the front's address, as host and port.
        names: server names; none for any.
        listen: nginx's addresses, in the form of its `listen`.
        certificate: the path of the certificate, for HTTPS.
        key: the path of its key.
        redirect: the addresses at which HTTP is redirected to HTTPS.
        http2: how to enable HTTP/2, which is only used with a certificate, as in browsers.
    """
    write = jinja_template("stager.conf", _FOLDER.joinpath("stager.conf").read_text(encoding="utf-8"))
    return write(
        {
            "front": front,
            "names": " ".join(names) or "_",
            "listen": listen,
            "certificate": certificate,
            "key": key,
            "redirect": redirect,
            "http2": http2,
        }
    )


def _jinja(name: str, text: str, folder: Path | None) -> Write:
    try:
        write = jinja_template(name, text, folder)
    except TemplateError as error:
        raise _broken(str(error)) from error

    def written(values: Mapping[str, object]) -> str:
        try:
            return write(values)
        except TemplateError as error:
            raise _broken(str(error)) from error

    return written


def _erb(name: str, text: str) -> Write:
    for tag in _TAG.finditer(text):
        if not _names_variable(tag.group()):
            line = text.count("\n", 0, tag.start()) + 1
            known = ", ".join(f"<%= {variable} %>" for variable in VARIABLES)
            shown = tag.group().split("\n")[0]
            raise _broken(
                f"{name}, line {line}: {shown} isn't supported",
                f"Of ERB, only {known} are supported; otherwise use a Jinja template, with another name.",
            )
    return lambda values: _TAG.sub(lambda tag: str(values[tag[1].removeprefix("=").strip()]), text)


def _names_variable(tag: str) -> bool:
    return re.fullmatch(rf"<%=[ \t]*({'|'.join(VARIABLES)})[ \t]*%>", tag) is not None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _broken(f"{path} can't be read: {error}") from error


def _broken(what: str, hint: str = "") -> Fault:
    return Fault(f"nginx.template_path: {what}.", hint=hint, reason="nginx-template")
