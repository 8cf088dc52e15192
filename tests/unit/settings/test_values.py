"""Durations, sizes and addresses: what is read, and that it is written back the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stager.settings.loading.refusals import InvalidValue
from stager.settings.values.network import Address
from stager.settings.values.scalars import is_reference, read_duration, read_size, write_duration, write_size


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (90, 90),
        (1.5, 1.5),
        ("90", 90),
        ("90s", 90),
        ("500ms", 0.5),
        ("5m", 300),
        ("1h30m", 5400),
        ("30d", 2_592_000),
    ],
)
def test_durations(given: object, seconds: float) -> None:
    assert read_duration(given) == seconds


@pytest.mark.parametrize(
    "given", ["", "m", "5 m", "-5", -5, True, None, [], "5w", "1e9", float("inf"), float("nan")]
)
def test_what_is_no_duration(given: object) -> None:
    with pytest.raises(InvalidValue):
        read_duration(given)


@given(st.floats(0, 3e9))
def test_durations_are_written_back_the_same(seconds: float) -> None:
    assert read_duration(write_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("given", "size"),
    [
        (1024, 1024),
        ("1024", 1024),
        ("1k", 1024),
        ("512m", 512 << 20),
        ("512MB", 512 << 20),
        ("1.5GiB", 3 << 29),
        ("2 g", 2 << 30),
    ],
)
def test_sizes(given: object, size: int) -> None:
    assert read_size(given) == size


@pytest.mark.parametrize("given", ["", "m", "-1", -1, True, None, [], "1x", "1mm"])
def test_what_is_no_size(given: object) -> None:
    with pytest.raises(InvalidValue):
        read_size(given)


@given(st.integers(0, 1 << 50))
def test_sizes_are_written_back_the_same(size: int) -> None:
    assert read_size(write_size(size)) == size


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8000", Address("127.0.0.1", 8000)),
        ("[::1]:80", Address("::1", 80)),
        ("localhost:0", Address("localhost", 0)),
    ],
)
def test_addresses_are_read_and_written(text: str, address: Address) -> None:
    assert Address.read(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", ":80", "localhost", "::1:80", "[::1]", "[localhost]:80", "a b:80", "999.1.1.1:80", "a:٣"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InvalidValue):
        Address.read(text)


@pytest.mark.parametrize(
    "name",
    [
        "shop",
        "a/b",
        "docker.io/library/nginx:1.27",
        "localhost:5000/a",
        "HOST/a",
        "a__b-c",
        "sha256:" + "a" * 64,
        "a@sha256:" + "0" * 64,
    ],
)
def test_image_references(name: str) -> None:
    assert is_reference(name)


@pytest.mark.parametrize("name", ["", "Shop", "a b", "a:", "-a", "a/", "a\n", "a@sha256:1"])
def test_what_is_no_image_reference(name: str) -> None:
    assert not is_reference(name)
