"""Reads `healthcheck`."""

from __future__ import annotations

from stager.domain.service import ServiceCheck
from stager.project.compose import scalars
from stager.project.compose.value import Value

DEFAULT_INTERVAL, DEFAULT_RETRIES = 30.0, 3
"""Docker's own, https://docs.docker.com/reference/dockerfile/#healthcheck."""
DEFAULT_TIMEOUT = 10.0
MAX_INTERVAL = 1.0
"""Seconds between two tries. A file's `interval` is chosen for a service that runs, not for its start."""
MIN_TIMEOUT = 60.0
"""Seconds. A shorter time in a file assumes a machine that starts one application at a time."""


def read_check(value: Value) -> ServiceCheck | None:
    """Return the check; None for the image's own. Raises `Refused`."""
    given = value.mapping("`healthcheck`")
    if "disable" in given and given["disable"].flag("`disable`"):
        return ServiceCheck(is_disabled=True)
    test = given.get("test")
    command = _command(test) if test is not None and test.data is not None else None
    if command is None:
        return None
    if not command:
        return ServiceCheck(is_disabled=True)
    interval = _seconds(given, "interval") or DEFAULT_INTERVAL
    return ServiceCheck(
        command=command,
        interval=min(_seconds(given, "start_interval") or interval, MAX_INTERVAL),
        timeout=_seconds(given, "timeout") or DEFAULT_TIMEOUT,
        start_timeout=_start_timeout(given, interval),
    )


def _command(test: Value) -> tuple[str, ...]:
    """The command; empty for none."""
    if not isinstance(test.data, list):
        return _shell(test.text("`test`"))
    kind, *rest = [item.text("A word of `test`") for item in test.data] or [""]
    match kind, rest:
        case "NONE", []:
            return ()
        case "CMD", [_, *_]:
            return tuple(rest)
        case "CMD-SHELL", [text]:
            return _shell(text)
    raise test.refuse(
        "`test` must begin with NONE, CMD or CMD-SHELL.", "Write it like [CMD, curl, -f, localhost]."
    )


def _shell(text: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", text)


def _start_timeout(given: dict[str, Value], interval: float) -> float | None:
    """The seconds after which Docker considers the service unhealthy; None if the file has none of the keys,
    or for less than `MIN_TIMEOUT`."""
    retries = given["retries"].text("`retries`") if "retries" in given else ""
    if retries and not (retries.isdecimal() and len(retries) < 5):
        raise given["retries"].refuse("`retries` must be a number.")
    tries = int(retries or DEFAULT_RETRIES)
    total = (_seconds(given, "start_period") or 0) + tries * interval
    return total if given.keys() & {"start_period", "interval", "retries"} and total > MIN_TIMEOUT else None


def _seconds(given: dict[str, Value], key: str) -> float | None:
    return scalars.seconds(given[key], f"`{key}`") if key in given else None
