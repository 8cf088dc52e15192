"""The origins of a commit's submodules. The commit's author chooses their URLs, so any other host or protocol
is refused: git would send the credentials there, and this machine reaches more hosts than the author does."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit, urlunsplit

from stager.domain.errors import Fault
from stager.git import Result
from stager.ports.source import Origin

DEEPEST = 5
"""Maximum depth of nested submodules."""

LEAVE_OUT = "or set `builds.submodules: false` in the configuration to leave submodules out"

_SETTING = re.compile(r"submodule\.(.+)\.(path|url)", re.DOTALL)
_SSH = re.compile(r"(?:ssh://)?git@(?P<host>[^/:]+)[:/](?P<path>.+)")


def urls_by_path(result: Result) -> dict[str, str]:
    """The submodules' URLs by path.

    Args:
        result: of `git config --list -z` of the commit's `.gitmodules`.
    """
    modules: dict[str, dict[str, str]] = {}
    for setting in result.output.decode(errors="surrogateescape").split("\0"):
        key, _, value = setting.partition("\n")
        if match := _SETTING.fullmatch(key):
            modules.setdefault(match[1], {})[match[2]] = value
    return {m["path"]: m["url"] for m in modules.values() if {"path", "url"} <= m.keys()}


def origin_of(path: str, urls: Mapping[str, str], parent: Origin) -> Origin:
    """The origin of the submodule at `path`, with its parent's credentials unless the change is untrusted.

    Raises:
        Fault: `submodule-refused`: its URL points elsewhere.
    """
    url = urls.get(path, "")
    if not url:
        raise _refused(path, "its URL isn't in .gitmodules", "Add it there, or remove the submodule.")
    found = _resolved(url, parent.url)
    if not _is_same_host(found, parent.url):
        raise _foreign_url(path, url, parent)
    authorization = "" if parent.untrusted else parent.authorization
    return Origin(found, ("HEAD",), authorization, parent.untrusted)


def too_deep(path: str) -> Fault:
    return _refused(path, f"it is nested more than {DEEPEST} levels deep", "Use fewer levels.")


def _resolved(url: str, parent: str) -> str:
    """The URL; a relative one, and git's short form of ssh, resolved against the parent's."""
    base = urlsplit(parent)
    if url.startswith(("./", "../")):
        return urlunsplit(base._replace(path=posixpath.normpath(posixpath.join(base.path, url))))
    match = _SSH.fullmatch(url)
    if match and base.scheme:
        host = base.netloc if match["host"].lower() == base.hostname else match["host"]
        return urlunsplit(SplitResult(base.scheme, host, "/" + match["path"].lstrip("/"), "", ""))
    return url


def _is_same_host(url: str, parent: str) -> bool:
    found, base = urlsplit(url), urlsplit(parent)
    if not base.scheme:
        return not found.scheme and posixpath.dirname(url) == posixpath.dirname(posixpath.normpath(parent))
    return (found.scheme, found.netloc.lower()) == (base.scheme, base.netloc.lower())


def _foreign_url(path: str, url: str, parent: Origin) -> Fault:
    if urlsplit(parent.url).scheme:
        return _refused(
            path,
            f"its URL, {url[:200]}, isn't on the host of {parent.url} by https",
            f"Use a relative URL such as ../other.git, or an https one on the same host; {LEAVE_OUT}.",
        )
    folder = posixpath.dirname(posixpath.normpath(parent.url))
    return _refused(
        path,
        f"its URL, {url[:200]}, isn't a repository in the local forge's folder, {folder}",
        f"Mirror it there (`git clone --mirror URL {folder}/NAME.git`) and use the relative URL "
        f"../NAME.git in .gitmodules; {LEAVE_OUT}.",
    )


def _refused(path: str, why: str, hint: str) -> Fault:
    return Fault(f"The submodule {path[:200]} isn't fetched: {why}.", hint=hint, reason="submodule-refused")
