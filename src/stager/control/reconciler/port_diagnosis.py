"""Why an instance wasn't ready in time: from what was seen of it to one sentence, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stager.domain.application import Application
from stager.domain.errors import Fault
from stager.ports.engine import Checked, Listener

MOST_TOLD = 5
"""Ports that a sentence lists."""

BLOCKED = (
    "Some of its connections were blocked, which may be what it waits for. Its page at Stager and "
    "`stager show` list them, with the setting that opens each."
)
"""Visitors read it as well, so that it names no addresses."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of an instance when the time was over.

    Args:
        status: of its last HTTP response; None when it gave none.
        checked: what the image's own check said last; None when it wasn't run.
        accepts: whether it accepts connections at its port; None when neither yes nor no came back.
        listeners: where it listens; None when that can't be found out.
        refusal: why visitors wouldn't get what it answers, a sentence; empty for nothing.
        blocked: whether the firewall kept it from something.
        log: its last lines.
    """

    status: int | None = None
    checked: Checked | None = None
    accepts: bool | None = None
    listeners: Sequence[Listener] | None = None
    refusal: str = ""
    blocked: bool = False
    log: str = ""


def unready(application: Application, seen: Seen) -> Fault:
    """What a deployment ends with whose instance wasn't ready within `start_timeout`."""
    if seen.checked is not None and seen.checked.healthy is False:
        return _unhealthy(application, seen, seen.checked)
    if seen.status is not None:
        return _wrong_status(application, seen, seen.status)
    if seen.refusal:
        return _bad_response(application, seen)
    return _unanswered(application, seen)


def _fault(seen: Seen, message: str, hint: str, reason: str) -> Fault:
    return Fault(message, hint=hint, reason=reason, detail=seen.log)


def _waiting(seen: Seen, hint: str) -> str:
    """The hint for one that may be waiting for something: what it was kept from comes first."""
    return f"{BLOCKED} {hint}" if seen.blocked else hint


def _unhealthy(application: Application, seen: Seen, checked: Checked) -> Fault:
    printed = f"The HEALTHCHECK printed:\n{checked.output.rstrip()}\n" if checked.output.strip() else ""
    return Fault(
        f"The application answers, but the image's HEALTHCHECK failed for {application.start_timeout:g} s.",
        hint=_waiting(
            seen,
            "Its last output is shown. `health_path` in the repository's own file or the configuration "
            "makes Stager ask a path over HTTP instead.",
        ),
        reason="unhealthy",
        # What is shown is cut at its beginning, so the check's words come last.
        detail=f"{seen.log}\n{printed}".strip("\n") if printed else seen.log,
    )


def _wrong_status(application: Application, seen: Seen, status: int) -> Fault:
    path = application.health_path
    wanted = "2xx or 3xx" if path else "a status below 500"
    return _fault(
        seen,
        f"The application answered with status {status} on port {application.port} (GET {path or '/'})"
        f" for {application.start_timeout:g} s.",
        _waiting(
            seen,
            f"{wanted} is needed. `health_path` in the repository's own file or the configuration names "
            "the path that tells whether it is ready.",
        ),
        "wrong-status",
    )


def _bad_response(application: Application, seen: Seen) -> Fault:
    path = application.health_path or "/"
    return _fault(
        seen,
        f"The application's answer on port {application.port} (GET {path}) isn't HTTP/1.1: {seen.refusal}",
        "The front refuses to pass it on. `curl -v` shows what the application sends.",
        "bad-response",
    )


def _unanswered(application: Application, seen: Seen) -> Fault:
    """Where no response came."""
    if seen.listeners is None:
        return _by_connecting(application, seen)
    here = [listener for listener in seen.listeners if listener.port == application.port]
    if not seen.listeners:
        return _nowhere(application, seen)
    if not here:
        return _elsewhere(application, seen, seen.listeners)
    if all(listener.address.is_loopback for listener in here):
        return _fault(
            seen,
            f"The application listens on {here[0]} only, where nothing outside its container reaches it.",
            f"Let it listen on 0.0.0.0, port {application.port}; many servers have an option `--host`.",
            "loopback-only",
        )
    if seen.accepts is False and all(listener.address.version == 6 for listener in here):
        return _fault(
            seen,
            f"The application listens on port {application.port} with IPv6 only, and previews are reached "
            "by IPv4.",
            "Let it listen on 0.0.0.0, or on :: without the option IPV6_V6ONLY.",
            "ipv6-only",
        )
    return _slow(application, seen)


def _by_connecting(application: Application, seen: Seen) -> Fault:
    if seen.accepts:
        return _slow(application, seen)
    how = "refused connections" if seen.accepts is False else "didn't answer"
    return _fault(
        seen,
        f"The application {how} on port {application.port} for {application.start_timeout:g} s.",
        _waiting(
            seen,
            "It has to listen on 0.0.0.0 and on that port, which `port` in the configuration or the "
            "repository's own file sets; `start_timeout` is how long it may take.",
        ),
        "no-answer",
    )


def _slow(application: Application, seen: Seen) -> Fault:
    return _fault(
        seen,
        f"The application accepts connections on port {application.port}, but no response to "
        f"GET {application.health_path or '/'} came within {application.probe_timeout:g} s.",
        _waiting(
            seen,
            "`probe_timeout` in the configuration is how long one response may take; `health_path` names a "
            "path that answers sooner.",
        ),
        "slow-answer",
    )


def _elsewhere(application: Application, seen: Seen, listeners: Sequence[Listener]) -> Fault:
    places = list(dict.fromkeys(_place(listener) for listener in listeners))
    found = ", ".join(places[:MOST_TOLD]) + (" and others" if len(places) > MOST_TOLD else "")
    return _fault(
        seen,
        f"The application doesn't listen on port {application.port}, but on {found}.",
        "Set `port` in the repository's own file or the configuration, or let the application listen on the "
        "port that the variable PORT has.",
        "wrong-port",
    )


def _place(listener: Listener) -> str:
    only = f" ({listener.address} only)" if listener.address.is_loopback else ""
    return f"{listener.port}{only}"


def _nowhere(application: Application, seen: Seen) -> Fault:
    return _fault(
        seen,
        f"The application runs, but listened on no port within {application.start_timeout:g} s.",
        _waiting(
            seen,
            "Its last lines tell what it does. `start_timeout` in the configuration is how long it may take.",
        ),
        "not-listening",
    )
