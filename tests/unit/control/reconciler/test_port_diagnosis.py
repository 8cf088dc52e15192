"""Why an instance wasn't ready: each cause has its own sentence and hint."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from stager.control.reconciler.port_diagnosis import BLOCKED, Seen, unready
from stager.ports.engine import Checked, Listener
from tests.unit.control.harness import SHOP

APP = replace(SHOP, port=8080, start_timeout=60.0, probe_timeout=7.0)


def at(*places: str) -> tuple[Listener, ...]:
    pairs = (place.rpartition(":") for place in places)
    return tuple(Listener(ip_address(address.strip("[]")), int(port)) for address, _, port in pairs)


@pytest.mark.parametrize(
    ("seen", "reason", "says", "hint"),
    [
        (Seen(listeners=at("127.0.0.1:8080")), "loopback-only", "127.0.0.1:8080", "0.0.0.0"),
        (Seen(listeners=at("[::1]:8080", "127.0.0.1:8080")), "loopback-only", "[::1]:8080", "0.0.0.0"),
        (Seen(accepts=False, listeners=at("[::]:8080")), "ipv6-only", "IPv6", "IPV6_V6ONLY"),
        (Seen(accepts=True, listeners=at("[::]:8080")), "slow-answer", "7 s", "`probe_timeout`"),
        (Seen(accepts=True, listeners=at("0.0.0.0:8080")), "slow-answer", "port 8080", "`health_path`"),
        (Seen(accepts=True, listeners=at("10.200.0.2:8080")), "slow-answer", "port 8080", ""),
        (Seen(accepts=True), "slow-answer", "port 8080", "`probe_timeout`"),
        (Seen(accepts=False, listeners=at("[::]:3000")), "wrong-port", "but on 3000.", "`port`"),
        (
            Seen(accepts=False, listeners=at("127.0.0.1:3000", "0.0.0.0:9229", "[::]:9229")),
            "wrong-port",
            "but on 3000 (127.0.0.1 only), 9229.",
            "PORT",
        ),
        (
            Seen(listeners=at(*(f"0.0.0.0:{port}" for port in range(1, 9)))),
            "wrong-port",
            "1, 2, 3, 4, 5 and others.",
            "`port`",
        ),
        (Seen(accepts=False, listeners=()), "not-listening", "60 s", "`start_timeout`"),
        (Seen(accepts=True, listeners=()), "not-listening", "60 s", "`start_timeout`"),
        (Seen(accepts=False), "no-answer", "refused connections on port 8080", "0.0.0.0"),
        (Seen(), "no-answer", "didn't answer on port 8080", "0.0.0.0"),
        (Seen(status=500), "wrong-status", "status 500 on port 8080 (GET /)", "`health_path`"),
        (Seen(status=200, checked=Checked(healthy=False)), "unhealthy", "HEALTHCHECK", "`health_path`"),
        (Seen(refusal="No colon."), "bad-response", "(GET /) isn't HTTP/1.1: No colon.", "`curl -v`"),
    ],
)
def test_each_cause(seen: Seen, reason: str, says: str, hint: str) -> None:
    fault = unready(APP, replace(seen, log="booting"))

    assert fault.reason == reason
    assert says in fault.message
    assert hint in fault.hint
    assert fault.detail == "booting"


def test_a_connection_that_the_engines_own_proxy_accepts_says_nothing() -> None:
    """As where previews are reached by published ports."""
    assert unready(APP, Seen(accepts=True, listeners=at("0.0.0.0:3000"))).reason == "wrong-port"


def test_the_checks_last_output_is_shown_after_the_log() -> None:
    checked = Checked(healthy=False, output="no table\n")
    fault = unready(APP, Seen(status=200, checked=checked, log="booting"))

    assert fault.detail.splitlines() == ["booting", "The HEALTHCHECK printed:", "no table"]


@pytest.mark.parametrize(
    "seen",
    [
        Seen(listeners=()),
        Seen(),
        Seen(accepts=True),
        Seen(status=503),
        Seen(status=200, checked=Checked(healthy=False)),
    ],
)
def test_one_that_may_wait_for_what_was_blocked_says_so_first(seen: Seen) -> None:
    hint = unready(APP, seen).hint

    assert unready(APP, replace(seen, blocked=True)).hint == f"{BLOCKED} {hint}"


@pytest.mark.parametrize(
    "seen",
    [
        Seen(listeners=at("0.0.0.0:3000")),
        Seen(listeners=at("127.0.0.1:8080")),
        Seen(accepts=False, listeners=at("[::]:8080")),
        Seen(refusal="No colon."),
    ],
)
def test_a_certain_cause_is_told_alone(seen: Seen) -> None:
    assert unready(APP, replace(seen, blocked=True)).hint == unready(APP, seen).hint
