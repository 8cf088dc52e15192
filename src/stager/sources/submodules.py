"""Where a commit's submodules come from. Its author writes that down, so whatever leads to another host, or
to another protocol, is refused: the credentials go along, and this machine sees more than its author does."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit, urlunsplit

from stager.domain.errors import Fault
from stager.git import Done
from stager.ports.source import Origin

DEEPEST = 5
"""How far submodules of submodules are followed."""

LEAVE_OUT = "or leave submodules out by `builds.submodules: false` in the configuration"

_SETTING = re.compile(r"submodule\.(.+)\.(path|url)", re.DOTALL)
_SSH = re.compile(r"(?:ssh://)?git@(?P<host>[^/:]+)[:/](?P<path>.+)")


def declared(done: Done) -> dict[str, str]:
    """Their URLs by their paths.

    Args:
        done: `git config --list -z` of the commit's `.gitmodules`.
    """
    modules: dict[str, dict[str, str]] = {}
    for setting in done.output.decode(errors="surrogateescape").split("\0"):
        key, _, value = setting.partition("\n")
        if match := _SETTING.fullmatch(key):
            modules.setdefault(match[1], {})[match[2]] = value
    return {m["path"]: m["url"] for m in modules.values() if {"path", "url"} <= m.keys()}


def origin_of(path: str, urls: Mapping[str, str], parent: Origin) -> Origin:
    """How git reaches the submodule at `path`, with its parent's credentials unless a stranger named it.

    Raises:
        Fault: `submodule-refused`: that leads elsewhere.
    """
    url = urls.get(path, "")
    if not url:
        raise _refused(path, "its URL isn't in .gitmodules", "Commit it, or remove the submodule.")
    found = _resolved(url, parent.url)
    if not _beside(found, parent.url):
        raise _leads_elsewhere(path, url, parent)
    authorization = "" if parent.by_stranger else parent.authorization
    return Origin(found, ("HEAD",), authorization, parent.by_stranger)


def too_deep(path: str) -> Fault:
    return _refused(path, f"it is the {DEEPEST + 1}th one within another", "Nest them less.")


def _resolved(url: str, parent: str) -> str:
    """The URL, with a relative one and git's short form of ssh put into the parent's terms."""
    base = urlsplit(parent)
    if url.startswith(("./", "../")):
        return urlunsplit(base._replace(path=posixpath.normpath(posixpath.join(base.path, url))))
    match = _SSH.fullmatch(url)
    if match and base.scheme:
        host = base.netloc if match["host"].lower() == base.hostname else match["host"]
        return urlunsplit(SplitResult(base.scheme, host, "/" + match["path"].lstrip("/"), "", ""))
    return url


def _beside(url: str, parent: str) -> bool:
    found, base = urlsplit(url), urlsplit(parent)
    if not base.scheme:
        return not found.scheme and posixpath.dirname(url) == posixpath.dirname(posixpath.normpath(parent))
    return (found.scheme, found.netloc.lower()) == (base.scheme, base.netloc.lower())


def _leads_elsewhere(path: str, url: str, parent: Origin) -> Fault:
    if urlsplit(parent.url).scheme:
        return _refused(
            path,
            f"its URL, {url[:200]}, doesn't lead to the host of {parent.url} by https",
            f"Give a relative URL such as ../other.git, or an https one on the same host; {LEAVE_OUT}.",
        )
    folder = posixpath.dirname(posixpath.normpath(parent.url))
    return _refused(
        path,
        f"its URL, {url[:200]}, doesn't lead to a repository of the local forge's folder, {folder}",
        f"Mirror it there (`git clone --mirror URL {folder}/NAME.git`) and give the relative URL "
        f"../NAME.git in .gitmodules; {LEAVE_OUT}.",
    )


def _refused(path: str, why: str, hint: str) -> Fault:
    return Fault(f"The submodule {path[:200]} isn't fetched: {why}.", hint=hint, reason="submodule-refused")
