"""Forwarding headers of proxies, and what apps receive: the same facts in each form."""

import pytest

from stager.front.http.head import RequestHead
from stager.front.http.headers import Forwarding
from stager.front.http.request_parser import parse_request

PROXY = Forwarding("127.0.0.1", "http", trusted=True)
SECURE_PROXY = Forwarding("10.0.0.9", "https", trusted=True)
NAMES = ("For", "Proto", "Host", "Port")


def head(*lines: str, host: str = "x.test") -> RequestHead:
    return parse_request("\r\n".join(["GET / HTTP/1.1", f"Host: {host}", *lines]).encode())


def told(*lines: str, host: str = "x.test", forwarding: Forwarding = PROXY) -> dict[str, str]:
    """The headers about the client, by name without `X-Forwarded-`."""
    own_host, *others = forwarding.facts(head(*lines, host=host)).lines.decode().split("\r\n")
    assert own_host == f"Host: {host}"
    pairs = dict(line.split(": ", 1) for line in others)
    return {name.removeprefix("X-Forwarded-"): value for name, value in pairs.items()}


def test_a_proxy_that_sends_only_the_scheme() -> None:
    assert told("X-Forwarded-Proto: https") == {
        "For": "127.0.0.1",
        "Proto": "https",
        "Host": "x.test",
        "Port": "443",
        "X-Real-IP": "127.0.0.1",
        "Forwarded": 'for=127.0.0.1;host="x.test";proto=https',
    }


def test_a_proxy_as_most_are() -> None:
    lines = ["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: x.test"]
    assert told(*lines) == {
        "For": "192.0.2.1, 127.0.0.1",
        "Proto": "https",
        "Host": "x.test",
        "Port": "443",
        "X-Real-IP": "192.0.2.1",
        "Forwarded": 'for=192.0.2.1;host="x.test";proto=https, for=127.0.0.1',
    }


def test_forwarded_alone() -> None:
    forwarded = 'For="[2001:db8::7]:4711" ; Proto=HTTPS;host="a.test:8443", for=192.0.2.43, for=_hidden'
    assert told(f"Forwarded: {forwarded}") == {
        "For": "2001:db8::7, 192.0.2.43, _hidden, 127.0.0.1",
        "Proto": "https",
        "Host": "a.test:8443",
        "Port": "8443",
        "X-Real-IP": "_hidden",
        "Forwarded": 'for="[2001:db8::7]";host="a.test:8443";proto=https, for=192.0.2.43, for=_hidden,'
        " for=127.0.0.1",
    }
    assert PROXY.facts(head("Forwarded: proto=https")).secure


def test_a_real_ip_alone() -> None:
    seen = told("X-Real-IP: 192.0.2.1")
    assert (seen["For"], seen["X-Real-IP"]) == ("192.0.2.1, 127.0.0.1", "192.0.2.1")
    assert seen["Forwarded"] == 'for=192.0.2.1;host="x.test";proto=http, for=127.0.0.1'


@pytest.mark.parametrize(
    ("lines", "scheme"),
    [
        (["X-Forwarded-Proto: HTTPS"], "https"),
        (["X-Forwarded-Proto: wss"], "https"),
        (["X-Forwarded-Proto: ws"], "http"),
        (["X-Forwarded-Proto: https,http"], "https"),
        (["X-Forwarded-Proto: https, http"], "https"),
        (["X-Forwarded-Proto: https", "X-Forwarded-Proto: http"], "https"),
        (["X-Forwarded-Proto: http,https"], "http"),
        (["X-Forwarded-Proto: gopher"], "http"),
        (["X-Forwarded-Proto: gopher", "Forwarded: proto=https"], "https"),
        (["X-Forwarded-Proto: http", "Forwarded: proto=https"], "http"),
        (["Forwarded: for=192.0.2.1;proto=https, for=10.0.0.1;proto=http"], "https"),
        (["Forwarded: for=192.0.2.1, proto=wss"], "https"),
        (['Forwarded: proto="https"'], "https"),
        (["Forwarded: proto=https;;"], "https"),
        (['Forwarded: for="proto=https'], "http"),
        (["Forwarded: proto = https"], "http"),
        (["X-Forwarded-Scheme: https"], "https"),
        (["X-Forwarded-Ssl: on"], "https"),
        (["X-Forwarded-Ssl: off"], "http"),
        (["X-Forwarded-Port: 443"], "https"),
        (["X-Forwarded-For: 192.0.2.1"], "http"),
    ],
)
def test_the_scheme(lines: list[str], scheme: str) -> None:
    seen = told(*lines)
    assert seen["Proto"] == scheme
    assert f"proto={scheme}" in seen["Forwarded"]
    assert seen["Forwarded"].count("proto=") == 1
    assert seen["Port"] == {"http": "80", "https": "443"}[scheme]
    assert PROXY.facts(head(*lines)).secure == (scheme == "https")


@pytest.mark.parametrize(
    ("lines", "host", "port"),
    [
        (["X-Forwarded-Proto: https"], "x.test:8443", "8443"),
        (["X-Forwarded-Proto: https", "X-Forwarded-Port: 80"], "x.test", "443"),
        (["X-Forwarded-Proto: https"], "x.test:80", "443"),
        (["X-Forwarded-Proto: http", "X-Forwarded-Port: 443"], "x.test", "80"),
        (["X-Forwarded-Proto: https", "X-Forwarded-Port: 8443, 80"], "x.test", "8443"),
        (["X-Forwarded-Proto: https", "X-Forwarded-Port: many"], "x.test", "443"),
        (["X-Forwarded-Proto: https", "X-Forwarded-Host: y.test:444"], "x.test", "444"),
        (["X-Forwarded-Proto: https", "Forwarded: host=y.test"], "x.test:8000", "443"),
    ],
)
def test_the_port(lines: list[str], host: str, port: str) -> None:
    assert told(*lines, host=host)["Port"] == port


def test_a_proxy_that_uses_tls_with_us_and_not_with_its_client() -> None:
    seen = told("X-Forwarded-Proto: http", forwarding=SECURE_PROXY)
    assert (seen["Proto"], seen["Port"]) == ("http", "80")
    assert not SECURE_PROXY.facts(head("X-Forwarded-Proto: http")).secure
    assert told("X-Forwarded-For: 192.0.2.1", forwarding=SECURE_PROXY)["Port"] == "443"


@pytest.mark.parametrize("host", ['a"b', "a;proto=https", "a b", "a/b", ""])
def test_a_host_that_is_none_isn_t_passed_on(host: str) -> None:
    seen = told(f"X-Forwarded-Host: {host}", "X-Forwarded-For: 192.0.2.1")
    assert seen["Host"] == "x.test"
    assert seen["Forwarded"] == 'for=192.0.2.1;host="x.test";proto=http, for=127.0.0.1'


@pytest.mark.parametrize(
    ("address", "node"),
    [
        ("192.0.2.1:55", '"192.0.2.1:55"'),
        ("2001:db8::1", '"[2001:db8::1]"'),
        ("unknown", "unknown"),
        ('a"b', "unknown"),
        ("a;proto=https", '"a;proto=https"'),
    ],
)
def test_addresses_as_nodes(address: str, node: str) -> None:
    assert told(f"X-Forwarded-For: {address}")["Forwarded"].startswith(f"for={node};host=")


def test_a_hidden_client_isnt_this_machine() -> None:
    assert told("Forwarded: for=unknown")["For"] == "unknown, 127.0.0.1"
    assert told("Forwarded: for=<>, for=192.0.2.1")["For"] == "unknown, 127.0.0.1"
    assert told('Forwarded: for="<>"')["For"] == "unknown, 127.0.0.1"
