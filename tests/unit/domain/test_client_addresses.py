"""One client is one client, however its address is written."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stager.domain.identity.client_addresses import LONGEST, canonical, holder, is_among, sender

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
OF_ONE = ["192.0.2.1", " 192.0.2.1 ", "192.0.2.1:4711", "::ffff:192.0.2.1", "[::ffff:192.0.2.1]:4711",
          "::FFFF:C000:0201", '"192.0.2.1:80"']  # fmt: skip
OF_ANOTHER = ["2001:db8::1", "2001:DB8:0::0001", "[2001:db8::1]", "[2001:db8::1]:4711",
              '"[2001:db8::1]:4711"', "2001:db8::1%eth0", "[2001:db8::1%eth0]:4711"]  # fmt: skip


@pytest.mark.parametrize("text", OF_ONE)
def test_an_address_of_ipv4(text: str) -> None:
    assert (canonical(text), holder(text)) == ("192.0.2.1", "192.0.2.1")


@pytest.mark.parametrize("text", OF_ANOTHER)
def test_an_address_of_ipv6(text: str) -> None:
    assert (canonical(text), holder(text)) == ("2001:db8::1", "2001:db8::/64")


def test_an_ipv6_address_counts_as_its_whole_network() -> None:
    assert len({holder(f"2001:db8::{n:x}:{n}") for n in range(1, 100)}) == 1
    assert holder("2001:db8:0:1::1") != holder("2001:db8::1")


@pytest.mark.parametrize("text", ["", "unknown", "_hidden", "010.0.0.1", "1.2.3", "[", "[::1", "a" * 1000])
def test_what_is_no_address_stays_and_is_nowhere(text: str) -> None:
    assert canonical(text) == (text[:LONGEST] if text != "[::1" else "::1")
    assert not is_among(text, LOOPBACK) or text == "[::1"


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "127.0.0.1:5000", "::ffff:127.0.0.1", "[::1]:5000", "::1%lo", "[::ffff:127.9.9.9]:1"],
)
def test_a_proxy_is_trusted_however_it_is_written(text: str) -> None:
    assert is_among(text, LOOPBACK)


def test_a_network_may_be_written_as_mapped() -> None:
    mapped = (ip_network("::ffff:10.0.0.0/104"),)
    assert is_among("10.1.2.3", mapped)
    assert is_among("::ffff:10.1.2.3", mapped)
    assert not is_among("11.0.0.1", mapped)
    assert not is_among("192.0.2.1", (ip_network("::/0"),))


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:1, 127.0.0.1:2", "203.0.113.9"),
        ("10.9.9.9, [2001:db8::1]:4711, ::ffff:127.0.0.1", "2001:db8::1"),
        ("127.0.0.1, ::1", "127.0.0.1"),
        ("", "192.0.2.1"),
        (" , ", "192.0.2.1"),
        ("203.0.113.9, nonsense", "nonsense"),
    ],
)
def test_the_sender_is_the_last_stranger(forwarded: str, address: str) -> None:
    assert sender(forwarded, LOOPBACK, "::ffff:192.0.2.1") == address


def test_without_a_proxy_no_address_is_trusted() -> None:
    assert sender("203.0.113.9, 127.0.0.1", (), "") == "127.0.0.1"


@given(st.text())
def test_nothing_raises(text: str) -> None:
    assert canonical(canonical(text)) == canonical(text) or len(text) > LONGEST or '"' in text
    assert len(canonical(text)) <= LONGEST
    assert holder(text) is not None
    assert is_among(text, LOOPBACK) in (True, False)
