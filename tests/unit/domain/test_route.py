"""Route tables are values, and are the same after a conversion to JSON and back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stager.domain.identity.access_policy import AccessPolicy, Guard
from stager.domain.route import (
    Endpoint,
    Page,
    PageState,
    RouteTable,
    normalise_host,
    table_from_wire,
    table_to_wire,
    target_from_wire,
    target_to_wire,
)

A, B = Endpoint("10.200.0.1", 3000), Endpoint("10.200.0.2", 3000)
PAGE = Page("failed", "größer", "shop", "It failed.", "Look.", ("a", "b"), "https://forge.test/7")

texts = st.text(max_size=8)
endpoints = st.builds(Endpoint, st.ip_addresses().map(str), st.integers(1, 65535)) | st.builds(
    Endpoint, path=st.text(min_size=1, max_size=8)
)
several = st.lists(texts, max_size=3).map(tuple)
numbers = st.integers(0, 1 << 31)
pages = st.builds(
    Page,
    st.sampled_from(get_args(PageState)),
    *(texts, texts, texts, texts, several, texts, texts, texts, texts),
    *(several, texts, several, numbers, texts, numbers, numbers),
)
GUARD = Guard(frozenset({"password"}), "e", "http://test/preview-access")


def with_terms(table: RouteTable) -> st.SearchStrategy[RouteTable]:
    """The table with terms for some of its hosts."""
    terms = st.sampled_from(
        [AccessPolicy(GUARD), AccessPolicy(replace(GUARD, links=frozenset({"l"}))), AccessPolicy(index=True)]
    )
    chosen = st.dictionaries(st.sampled_from(sorted(table.routes)), terms) if table.routes else st.just({})
    return chosen.map(lambda terms: replace(table, policies=terms))


tables = st.builds(
    RouteTable,
    st.dictionaries(st.sampled_from(["a.test", "b.test", "c.test", "d.test"]), endpoints | pages),
    st.sampled_from(["", "test", "other.test"]),
    st.none() | endpoints,
    st.dictionaries(st.integers(1, 4), st.sampled_from(["a.test", "b.test", "c.test"])),
).flatmap(with_terms)


class TestEndpoint:
    @pytest.mark.parametrize(
        ("endpoint", "text"),
        [
            (Endpoint("10.200.0.1", 80), "10.200.0.1:80"),
            (Endpoint("fd00::1", 80), "[fd00::1]:80"),
            (Endpoint(path="/run/x.sock"), "unix:/run/x.sock"),
        ],
    )
    def test_as_text(self, endpoint: Endpoint, text: str) -> None:
        assert str(endpoint) == text


class TestTable:
    def test_changing_one_leaves_the_other(self) -> None:
        table = RouteTable({"a.test": A}, "test", B)
        more = table.upsert("b.test", B)

        assert (dict(table.routes), dict(more.routes)) == ({"a.test": A}, {"a.test": A, "b.test": B})
        assert more.delete("b.test") == table
        assert table.delete("b.test") is table
        assert (more.domain, more.home) == ("test", B)


class TestWire:
    @given(tables)
    def test_any_table_comes_back(self, table: RouteTable) -> None:
        assert table_from_wire(json.loads(json.dumps(table_to_wire(table)))) == table

    @given(endpoints | pages)
    def test_any_target_comes_back(self, target: Endpoint | Page) -> None:
        assert target_from_wire(json.loads(json.dumps(target_to_wire(target)))) == target

    @pytest.mark.parametrize(
        "wire", [{}, {"address": "10.0.0.1"}, {"address": "10.0.0.1", "port": "x"}, {"page": "gone"}]
    )
    def test_what_isnt_a_target(self, wire: dict[str, object]) -> None:
        with pytest.raises((KeyError, ValueError)):
            target_from_wire(wire)

    def test_a_page_of_an_older_version(self) -> None:
        """A front reads the table of the one that it replaces."""
        texts = {"name": "main", "app": "shop", "message": "It failed.", "hint": "Push.", "url": "http://x/"}
        page = target_from_wire({"page": "failed", **texts, "lines": ["a"]})
        assert page == Page("failed", "main", "shop", "It failed.", "Push.", ("a",), "http://x/")

    def test_home_is_never_a_page(self) -> None:
        wire = table_to_wire(RouteTable()) | {"home": target_to_wire(PAGE)}
        with pytest.raises(ValueError, match="endpoint, not a page"):
            table_from_wire(wire)


@pytest.mark.parametrize(
    ("host", "normal"),
    [
        ("a.test", "a.test"),
        ("A.Test", "a.test"),
        ("a.test:8000", "a.test"),
        ("a.test.", "a.test"),
        ("A.TEST.:8000", "a.test"),
        ("localhost", "localhost"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[::1]:80", "::1"),
        ("[FD00::1]:80", "fd00::1"),
        ("::1", "::1"),
        ("fd00::1", "fd00::1"),
        ("a.test:", "a.test"),
        ("a.test:x", "a.test:x"),
        ("", ""),
    ],
)
def test_normal_hosts(host: str, normal: str) -> None:
    assert normalise_host(host) == normal
