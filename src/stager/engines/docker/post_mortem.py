"""Explains why a container ended at its start, from Docker's messages and the container's files.

For a script whose first line names a missing interpreter, execve(2) returns ENOENT as if the script were
missing. So the file itself is read, which Docker allows for stopped containers as well.
"""

from __future__ import annotations

import io
import posixpath
import re
import shlex
import tarfile
from collections.abc import Mapping
from typing import Any

import aiodocker

from stager.domain.text import as_on_screen
from stager.engines.docker.client import engine_errors
from stager.engines.docker.files import archive_of

READ_BYTES = 8192
"""Bytes that are read of a file's archive, its header included."""
MOST_LINKS = 5
LONGEST_SHOWN = 200

_EXEC_ERRORS = (
    re.compile(r"\[FATAL tini \(\d+\)\] exec (?P<program>\S+) failed: (?P<why>[\w ]+)"),
    re.compile(r'exec: "(?P<program>[^"]+)": (?:stat \S+: )?(?P<why>[\w $]+)'),
    re.compile(r"^exec (?P<program>\S+): (?P<why>[\w ]+)", re.MULTILINE),
)
"""Messages of Docker's init (https://github.com/krallin/tini) and of runc that can't run a program."""


async def post_mortem(docker: aiodocker.Docker, container: str, words: str) -> str:
    """See `ports.engine.Instances.post_mortem`.

    Args:
        words: the output of the container, or Docker's error at its start.
    """
    with engine_errors():
        try:
            config = (await docker.containers.container(container).show())["Config"]
            image = (await docker.images.inspect(config["Image"]))["Config"]
            found = next((match for pattern in _EXEC_ERRORS if (match := pattern.search(words))), None)
            cause = await _exec_error(docker, container, found, config) if found else ""
        except aiodocker.DockerError as error:
            if error.status >= 500:
                raise
            return ""
    return " ".join(filter(None, (cause, _of_entrypoint(config, image))))


def _of_entrypoint(config: Mapping[str, Any], image: Mapping[str, Any]) -> str:
    """Explain that a configured command was passed to the image's ENTRYPOINT."""
    entrypoint, command = config.get("Entrypoint") or [], config.get("Cmd") or []
    is_of_image = entrypoint == (image.get("Entrypoint") or [])
    if not entrypoint or not command or not is_of_image or command == (image.get("Cmd") or []):
        return ""
    # Only the first word of the configured command: this is shown in pull requests.
    more = " ..." if command[1:] else ""
    ran = _shown(shlex.join([*entrypoint, *command[:1]])) + more
    return (
        f"`command` replaces only the image's CMD. With its ENTRYPOINT, this ran: `{ran}`. "
        "Remove the part from `command` that the ENTRYPOINT contains."
    )


async def _exec_error(
    docker: aiodocker.Docker, container: str, found: re.Match[str], config: Mapping[str, Any]
) -> str:
    program, why = found["program"], found["why"].lower()
    shown = _shown(program)
    if "permission denied" in why:
        return (
            f"`{shown}` isn't executable. Run `git update-index --chmod=+x FILE` in the repository, or add "
            "`RUN chmod +x FILE` to the Dockerfile."
        )
    if "exec format error" in why:
        return f"`{shown}` was built for another CPU architecture, or is a script without a `#!` line."
    if "no such file" not in why and "not found" not in why:
        return ""
    if "/" not in program:
        return f"The image has no program `{shown}`."
    begins = await _beginning(docker, container, posixpath.join(config.get("WorkingDir") or "/", program))
    return await _of_file(docker, container, shown, begins)


async def _of_file(docker: aiodocker.Docker, container: str, shown: str, begins: bytes | None) -> str:
    if begins is None:
        return f"The image has no file `{shown}`."
    line = begins.partition(b"\n")[0]
    if not line.startswith(b"#!"):
        return f"`{shown}` exists, but something that it needs is missing, such as its C library."
    if line.endswith(b"\r"):
        return (
            f"The first line of `{shown}` ends with a carriage return, so its interpreter isn't found. Save "
            "it with Unix line ends, and add `*.sh text eol=lf` to .gitattributes."
        )
    interpreter = (line[2:].split() or [b""])[0].decode("utf-8", "replace")
    if await _beginning(docker, container, interpreter) is None:
        return (
            f"The first line of `{shown}` names the interpreter `{_shown(interpreter)}`, which isn't in the "
            "image. Install it, or use one that is, such as `/bin/sh`."
        )
    return ""


async def _beginning(docker: aiodocker.Docker, container: str, path: str) -> bytes | None:
    """The beginning of a file in the container, following links; None if it doesn't exist."""
    for _ in range(MOST_LINKS):
        data = await archive_of(docker, container, path, READ_BYTES)
        if data is None:
            return None
        member, content = _first_member(data)
        if member is None or not member.issym():
            return content
        path = posixpath.join(posixpath.dirname(path), member.linkname)
    return None


def _first_member(data: bytes) -> tuple[tarfile.TarInfo | None, bytes]:
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            member = archive.next()
            if member is None or not member.isfile():
                return member, b""
            return member, data[member.offset_data : member.offset_data + member.size]
    except tarfile.TarError:
        return None, b""


def _shown(text: str) -> str:
    """A text of the image's author, made safe for display between backticks."""
    return as_on_screen(text.replace("`", "'").replace("\n", " "))[:LONGEST_SHOWN]
