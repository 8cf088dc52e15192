"""Why an instance wasn't ready: each cause has its own sentence and hint."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from stager.control.reconciler.port_diagnosis import BLOCKED, Evidence, diagnose
from stager.ports.engine import Checked, Listener
from tests.unit.control.harness import SHOP

APP = replace(SHOP, port=8080, start_timeout=60.0, probe_timeout=7.0)


def at(*places: str) -> tuple[Listener, ...]:
    pairs = (place.rpartition(":") for place in places)
    return tuple(Listener(ip_address(address.strip("[]")), int(port)) for address, _, port in pairs)


@pytest.mark.parametrize(
    ("seen", "reason", "says", "hint"),
    [
        (Evidence(listeners=at("127.0.0.1:8080")), "loopback-only", "127.0.0.1:8080", "0.0.0.0"),
        (Evidence(listeners=at("[::1]:8080", "127.0.0.1:8080")), "loopback-only", "[::1]:8080", "0.0.0.0"),
        (Evidence(accepts=False, listeners=at("[::]:8080")), "ipv6-only", "IPv6", "IPV6_V6ONLY"),
        (Evidence(accepts=True, listeners=at("[::]:8080")), "slow-answer", "7 s", "`probe_timeout`"),
        (Evidence(accepts=True, listeners=at("0.0.0.0:8080")), "slow-answer", "port 8080", "`health_path`"),
        (Evidence(accepts=True, listeners=at("10.200.0.2:8080")), "slow-answer", "port 8080", ""),
        (Evidence(accepts=True), "slow-answer", "port 8080", "`probe_timeout`"),
        (Evidence(accepts=False, listeners=at("[::]:3000")), "wrong-port", "but on 3000.", "`port`"),
        (
            Evidence(accepts=False, listeners=at("127.0.0.1:3000", "0.0.0.0:9229", "[::]:9229")),
            "wrong-port",
            "but on 3000 (127.0.0.1 only), 9229.",
            "PORT",
        ),
        (
            Evidence(listeners=at(*(f"0.0.0.0:{port}" for port in range(1, 9)))),
            "wrong-port",
            "1, 2, 3, 4, 5 and others.",
            "`port`",
        ),
        (Evidence(accepts=False, listeners=()), "not-listening", "60 s", "`start_timeout`"),
        (Evidence(accepts=True, listeners=()), "not-listening", "60 s", "`start_timeout`"),
        (Evidence(accepts=False), "no-answer", "refused connections on port 8080", "0.0.0.0"),
        (Evidence(), "no-answer", "didn't answer on port 8080", "0.0.0.0"),
        (Evidence(status=500), "wrong-status", "status 500 on port 8080 (GET /)", "`health_path`"),
        (Evidence(status=200, checked=Checked(healthy=False)), "unhealthy", "HEALTHCHECK", "`health_path`"),
        (Evidence(refusal="No colon."), "bad-response", "(GET /) isn't HTTP/1.1: No colon.", "`curl -v`"),
    ],
)
def test_each_cause(seen: Evidence, reason: str, says: str, hint: str) -> None:
    fault = diagnose(APP, replace(seen, log="booting"))

    assert fault.reason == reason
    assert says in fault.message
    assert hint in fault.hint
    assert fault.detail == "booting"


def test_a_connection_that_the_engines_own_proxy_accepts_says_nothing() -> None:
    """As where previews are reached by published ports."""
    assert diagnose(APP, Evidence(accepts=True, listeners=at("0.0.0.0:3000"))).reason == "wrong-port"


def test_the_checks_last_output_is_shown_after_the_log() -> None:
    checked = Checked(healthy=False, output="no table\n")
    fault = diagnose(APP, Evidence(status=200, checked=checked, log="booting"))

    assert fault.detail.splitlines() == ["booting", "The HEALTHCHECK printed:", "no table"]


@pytest.mark.parametrize(
    "seen",
    [
        Evidence(listeners=()),
        Evidence(),
        Evidence(accepts=True),
        Evidence(status=503),
        Evidence(status=200, checked=Checked(healthy=False)),
    ],
)
def test_one_that_may_wait_for_what_was_blocked_says_so_first(seen: Evidence) -> None:
    hint = diagnose(APP, seen).hint

    assert diagnose(APP, replace(seen, blocked=True)).hint == f"{BLOCKED} {hint}"


@pytest.mark.parametrize(
    "seen",
    [
        Evidence(listeners=at("0.0.0.0:3000")),
        Evidence(listeners=at("127.0.0.1:8080")),
        Evidence(accepts=False, listeners=at("[::]:8080")),
        Evidence(refusal="No colon."),
    ],
)
def test_a_certain_cause_is_named_alone(seen: Evidence) -> None:
    assert diagnose(APP, replace(seen, blocked=True)).hint == diagnose(APP, seen).hint
