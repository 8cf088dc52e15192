"""Merges Compose files: overrides, and services that extend others.

The rules are those of https://docs.docker.com/reference/compose-file/merge/.
"""

from __future__ import annotations

from stager.project.compose.value import Data, Value

_REPLACED = frozenset({"command", "entrypoint", "test"})
"""Keys whose value isn't merged with the earlier one."""
_PAIRS = frozenset({"environment", "args", "labels", "annotations", "extra_hosts", "sysctls"})
"""Keys with a mapping, or a list of `NAME=value`."""
_NAMES = frozenset({"depends_on", "networks"})
"""Keys with a mapping, or a list of its keys."""


def merge(base: Value, over: Value, key: str = "") -> Value:
    """Return a value overridden by a later one.

    Args:
        key: the key whose values these are.
    """
    if over.tag == "!override" or key in _REPLACED:
        return over
    if over.data is None:
        return base
    earlier, later = _form(base, key), _form(over, key)
    if isinstance(earlier, dict) and isinstance(later, dict):
        return base.with_data(merged(earlier, later))
    if isinstance(earlier, list) and isinstance(later, list):
        return over.with_data(_joined(earlier, later, key))
    return over


def merged(base: dict[str, Value], over: dict[str, Value]) -> dict[str, Value]:
    """Return a mapping overridden by a later one; `!reset` removes a key."""
    found = dict(base)
    for key, value in over.items():
        if value.tag == "!reset":
            found.pop(key, None)
        else:
            found[key] = merge(found[key], value, key) if key in found else value
    return found


def _form(value: Value, key: str) -> Data:
    """The data of a value in the form in which it is merged."""
    data = value.data
    if key == "build" and isinstance(data, str):
        return {"context": value}
    if not isinstance(data, list):
        return [value] if key in ("env_file", "tmpfs", "dns") and isinstance(data, str) else data
    if any(isinstance(item.data, dict | list) for item in data):
        return data
    if key in _PAIRS:
        return dict(value.pairs(key))
    return {item.text(key): item.with_data(None) for item in data} if key in _NAMES else data


def _joined(earlier: list[Value], later: list[Value], key: str) -> list[Value]:
    """Both lists, without what the later one has again: of volumes, the same target."""
    if key == "volumes":
        again = {_target(item) for item in later}
        return [*(item for item in earlier if _target(item) not in again), *later]
    texts = {item.data for item in later if not isinstance(item.data, dict | list)}
    kept = (item for item in earlier if isinstance(item.data, dict | list) or item.data not in texts)
    return [*kept, *later]


def _target(item: Value) -> str:
    if isinstance(item.data, dict):
        return str(item.data["target"].data) if "target" in item.data else ""
    parts = str(item.data).split(":")
    return parts[1] if len(parts) > 1 else parts[0]
