"""Explains why an instance wasn't healthy in time: one sentence, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stager.domain.application import Application
from stager.domain.errors import Fault
from stager.ports.engine import Checked, Listener

MAX_LISTED = 5
"""Maximum number of ports that a sentence lists."""

BLOCKED = (
    "The firewall blocked some of its connections, which it may be waiting for. The preview's page at Stager "
    "and `stager show` list them, with the setting that allows each."
)
"""Visitors see it as well, so it contains no addresses."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of an instance at the end of `start_timeout`.

    Args:
        status: the status of its last HTTP response; None without a response.
        checked: the last result of the image's HEALTHCHECK; None if it wasn't run.
        accepts: whether it accepts connections on its port; None if the connection timed out.
        listeners: the addresses on which it listens; None if unknown.
        refusal: why the front refuses its responses, a sentence; empty if it doesn't.
        blocked: whether the firewall blocked a connection of it.
        log: the last lines of its log.
    """

    status: int | None = None
    checked: Checked | None = None
    accepts: bool | None = None
    listeners: Sequence[Listener] | None = None
    refusal: str = ""
    blocked: bool = False
    log: str = ""


def diagnose(application: Application, evidence: Evidence) -> Fault:
    """The failure of a deployment whose instance wasn't healthy within `start_timeout`."""
    if evidence.checked is not None and evidence.checked.healthy is False:
        return _unhealthy(application, evidence, evidence.checked)
    if evidence.status is not None:
        return _wrong_status(application, evidence, evidence.status)
    if evidence.refusal:
        return _bad_response(application, evidence)
    return _unanswered(application, evidence)


def _fault(evidence: Evidence, message: str, hint: str, reason: str) -> Fault:
    return Fault(message, hint=hint, reason=reason, detail=evidence.log)


def _waiting(evidence: Evidence, hint: str) -> str:
    """The hint for an application that may be waiting; blocked connections come first."""
    return f"{BLOCKED} {hint}" if evidence.blocked else hint


def _unhealthy(application: Application, evidence: Evidence, checked: Checked) -> Fault:
    printed = f"The HEALTHCHECK printed:\n{checked.output.rstrip()}\n" if checked.output.strip() else ""
    return Fault(
        f"The application answers, but the image's HEALTHCHECK failed for {application.start_timeout:g} s.",
        hint=_waiting(
            evidence,
            "Its last output is shown. To probe a path over HTTP instead, set `health_path` in the "
            "repository's `.stager.yml` or in the configuration.",
        ),
        reason="unhealthy",
        # Only the end is shown, so the output of the check comes last.
        detail=f"{evidence.log}\n{printed}".strip("\n") if printed else evidence.log,
    )


def _wrong_status(application: Application, evidence: Evidence, status: int) -> Fault:
    path = application.health_path
    wanted = "a 2xx or 3xx status" if path else "a status below 500"
    return _fault(
        evidence,
        f"The application answered with status {status} on port {application.port} (GET {path or '/'})"
        f" for {application.start_timeout:g} s.",
        _waiting(
            evidence,
            f"Expected {wanted}. Set `health_path` in the repository's `.stager.yml` or in the configuration "
            "to a path that reports whether the application is ready.",
        ),
        "wrong-status",
    )


def _bad_response(application: Application, evidence: Evidence) -> Fault:
    path = application.health_path or "/"
    return _fault(
        evidence,
        f"The application's response on port {application.port} (GET {path}) isn't HTTP/1.1: "
        f"{evidence.refusal}",
        "The front refuses it. `curl -v` shows what the application sends.",
        "bad-response",
    )


def _unanswered(application: Application, evidence: Evidence) -> Fault:
    """No response came."""
    if evidence.listeners is None:
        return _by_connecting(application, evidence)
    here = [listener for listener in evidence.listeners if listener.port == application.port]
    if not evidence.listeners:
        return _nowhere(application, evidence)
    if not here:
        return _elsewhere(application, evidence, evidence.listeners)
    if all(listener.address.is_loopback for listener in here):
        return _fault(
            evidence,
            f"The application listens on {here[0]} only, which isn't reachable from outside its container.",
            f"Let it listen on 0.0.0.0, port {application.port}; many servers have an option `--host`.",
            "loopback-only",
        )
    if evidence.accepts is False and all(listener.address.version == 6 for listener in here):
        return _fault(
            evidence,
            f"The application listens on port {application.port} with IPv6 only, but Stager connects to "
            "previews over IPv4.",
            "Let it listen on 0.0.0.0, or on :: without the option IPV6_V6ONLY.",
            "ipv6-only",
        )
    return _slow(application, evidence)


def _by_connecting(application: Application, evidence: Evidence) -> Fault:
    if evidence.accepts:
        return _slow(application, evidence)
    how = "refused connections" if evidence.accepts is False else "didn't answer"
    return _fault(
        evidence,
        f"The application {how} on port {application.port} for {application.start_timeout:g} s.",
        _waiting(
            evidence,
            "It has to listen on 0.0.0.0 and on that port, which `port` in the configuration or in "
            "`.stager.yml` sets. `start_timeout` is the time that it has to start.",
        ),
        "no-answer",
    )


def _slow(application: Application, evidence: Evidence) -> Fault:
    return _fault(
        evidence,
        f"The application accepts connections on port {application.port}, but no response to "
        f"GET {application.health_path or '/'} came within {application.probe_timeout:g} s.",
        _waiting(
            evidence,
            "Set `probe_timeout` in the configuration to allow slower responses, or `health_path` to a path "
            "that answers sooner.",
        ),
        "slow-answer",
    )


def _elsewhere(application: Application, evidence: Evidence, listeners: Sequence[Listener]) -> Fault:
    ports = list(dict.fromkeys(_port(listener) for listener in listeners))
    found = ", ".join(ports[:MAX_LISTED]) + (" and others" if len(ports) > MAX_LISTED else "")
    return _fault(
        evidence,
        f"The application doesn't listen on port {application.port}, but on {found}.",
        "Set `port` in the repository's `.stager.yml` or in the configuration, or let the application listen "
        "on the port in the environment variable PORT.",
        "wrong-port",
    )


def _port(listener: Listener) -> str:
    only = f" ({listener.address} only)" if listener.address.is_loopback else ""
    return f"{listener.port}{only}"


def _nowhere(application: Application, evidence: Evidence) -> Fault:
    return _fault(
        evidence,
        f"The application runs, but didn't listen on any port within {application.start_timeout:g} s.",
        _waiting(
            evidence,
            "The last lines of its log are shown. If it only needs longer, raise `start_timeout` of the "
            "application in Stager's configuration.",
        ),
        "not-listening",
    )
