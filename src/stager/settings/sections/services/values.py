"""Types of single values of a service: names, images, paths and mounts."""

from __future__ import annotations

import posixpath
import re
from typing import Annotated

from pydantic import AfterValidator

from stager.domain.service import MAX_NAME, Mount, is_service_name
from stager.settings.loading.refusals import InvalidValue
from stager.settings.sections.defaults import MIN_MEMORY
from stager.settings.values.scalars import Form, Size, is_reference

_VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def name_problem(name: str) -> str:
    """What is wrong with the name of a service; empty if nothing is."""
    if name == "localhost" or not is_service_name(name):
        return (
            "should have a name of lower-case letters, digits and single dashes, of at most"
            f" {MAX_NAME} characters, such as `worker`"
        )
    return ""


def _image(value: str) -> str:
    if value and not is_reference(value):
        raise InvalidValue(
            'should be an image such as "postgres:16"; for a command of the application\'s own image, write'
            " `{command: ...}`"
        )
    return value


OptionalImage = Annotated[str, AfterValidator(_image), Form("image reference")]


def _enough_memory(size: int | None) -> int | None:
    if size is not None and size < MIN_MEMORY:
        raise ValueError('should be "6m" at least, which is Docker\'s minimum')
    return size


OptionalMemory = Annotated[Size | None, AfterValidator(_enough_memory), Form("size")]


def _folder(value: str) -> str:
    if not value.startswith("/") or ".." in value.split("/") or ":" in value or not value.isprintable():
        raise InvalidValue('should be an absolute path such as "/tmp"')
    return posixpath.normpath(value)


Folder = Annotated[str, AfterValidator(_folder)]
OptionalFolder = Annotated[str, AfterValidator(lambda path: _folder(path) if path else ""), Form("path")]


def read_mount(value: str) -> Mount:
    """Parse a mount: `NAME:/path`, `./file:/path` or `/path`, with `:ro` for a read-only one.

    Raises:
        InvalidValue, ValueError: it has another form, or leads out of the repository.
    """
    source, target, is_read_only = _parts(value)
    is_absolute = target.startswith("/") and ".." not in target.split("/") and value.isprintable()
    target = "/" + posixpath.normpath(target).lstrip("/")
    if not is_absolute or target == "/":
        raise InvalidValue('should be "NAME:/path", "./file:/path" or "/path", with an absolute path inside')
    if not source:
        return Mount(target, is_read_only=is_read_only)
    if _VOLUME.fullmatch(source) and len(source) <= MAX_NAME:
        return Mount(target, volume=source, is_read_only=is_read_only)
    return Mount(target, content=_content(source), is_read_only=is_read_only)


def _parts(value: str) -> tuple[str, str, bool]:
    parts = value.split(":")
    is_read_only = len(parts) > 1 and parts[-1] in ("ro", "rw")
    if is_read_only:
        *parts, mode = parts
        is_read_only = mode == "ro"
    if len(parts) > 2:
        raise InvalidValue('should be "NAME:/path", with ":ro" at most behind it')
    return ("", parts[0], is_read_only) if len(parts) == 1 else (parts[0], parts[1], is_read_only)


def _content(source: str) -> str:
    if source.startswith(("/", "~")):
        raise ValueError(
            f"mounts {source} of this machine, which isn't supported; write a named volume, such as"
            " `data:/path`, or a file of the repository, such as `./file:/path`"
        )
    path = posixpath.normpath(source)
    if path.startswith("..") or "\\" in path:
        raise ValueError(f"mounts {source}, which leads out of the repository; write a path within it")
    return path


def _mount(value: str) -> str:
    read_mount(value)
    return value


WrittenMount = Annotated[str, AfterValidator(_mount)]
