"""The access log, connection limits, command-line limits, and the LRU cache."""

import argparse
import json
from pathlib import Path

import pytest

from stager.front.__main__ import settings_of
from stager.front.http import limits
from stager.front.http.limits import Limits
from stager.front.http.lru_cache import LruCache
from stager.front.process.sockets import PathListener, SocketError, split_address
from stager.front.proxy.access_log import AccessLog
from stager.front.proxy.connections import Connections


def note(log: AccessLog, target: bytes = b"/a", client: str = "192.0.2.1") -> None:
    log.add(
        host="x.test",
        method=b"GET",
        target=target,
        status=200,
        size=5,
        seconds=0.0123,
        client=client,
        request_id=b"1",
        endpoint="127.0.0.1:80",
        outcome="proxied",
    )


class TestLog:
    def test_every_line_is_json_with_any_request(self, tmp_path: Path) -> None:
        log = AccessLog(tmp_path / "access.log")
        targets = [b"/a?secret=1", b'/"quoted"\\', "/zürich".encode(), b"/\xff\xfe", b"*"]
        for target in targets:
            note(log, target, client='"evil"')
        log.close()
        text = (tmp_path / "access.log").read_text()
        lines = [json.loads(line) for line in text.splitlines()]
        assert [line["path"] for line in lines] == ["/a", '/"quoted"\\', "/zürich", "/��", "*"]
        assert "secret" not in text
        assert lines[0]["ms"] == 12.3
        assert lines[0]["time"].endswith("Z")

    def test_it_does_not_grow_for_ever(self, tmp_path: Path) -> None:
        log = AccessLog(tmp_path / "access.log", max_bytes=1000)
        for _ in range(30):
            note(log)
            log.flush()
        log.close()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["access.log", "access.log.1"]
        assert all(path.stat().st_size < 1500 for path in tmp_path.iterdir())

    def test_none(self, tmp_path: Path) -> None:
        log = AccessLog(None)
        note(log)
        log.close()
        assert list(tmp_path.iterdir()) == []

    def test_a_log_that_cannot_be_written_costs_no_request(self) -> None:
        log = AccessLog(Path("/dev/full"))
        for _ in range(3):
            note(log)
            log.flush()
        log.close()


class TestVisitors:
    def test_too_many_of_all(self) -> None:
        connections: Connections[int] = Connections(Limits(connections=1))
        assert connections.add(1, "192.0.2.1") is None
        refusal = connections.add(2, "192.0.2.2")
        assert refusal is not None
        assert refusal[0] == 503
        connections.remove(2, "192.0.2.2")
        connections.remove(1, "192.0.2.1")
        assert connections.add(3, "192.0.2.1") is None

    def test_too_many_of_one(self) -> None:
        connections: Connections[int] = Connections(Limits(connections_per_client=1), ["10.0.0.0/8"])
        assert connections.add(1, "192.0.2.1") is None
        refusal = connections.add(2, "192.0.2.1")
        assert refusal is not None
        assert refusal[0] == 429
        for number in range(3, 9):
            assert connections.add(number, "10.1.2.3") is None

    def test_who_is_trusted(self) -> None:
        connections: Connections[int] = Connections(Limits())
        assert [
            connections.trusts(address) for address in ("127.0.0.9", "::1", "", "192.0.2.1", "fe80::1%eth0")
        ] == [
            True,
            True,
            False,
            False,
            False,
        ]


def test_limits_survive_the_command_line() -> None:
    wanted = Limits(head_seconds=2.5, connections=7, upstream_idle_seconds=0.0, connections_per_client=0)
    given = limits.to_arguments(wanted)
    assert given == [
        "--head-seconds=2.5",
        "--upstream-idle-seconds=0.0",
        "--connections=7",
        "--connections-per-client=0",
    ]
    parser = argparse.ArgumentParser()
    limits.add_arguments(parser)
    assert limits.from_arguments(parser.parse_args(given)) == wanted


def test_what_differs_from_start_to_start_is_no_setting() -> None:
    assert settings_of(["--listen=:1", "--fd=5", "--tls-fd=6", "--take-over"]) == ["--listen=:1"]


class TestMemo:
    def test_it_asks_once(self) -> None:
        asked: list[bytes] = []
        cache = LruCache(lambda key: asked.append(key) or len(asked))  # type: ignore[func-returns-value]
        assert [cache[b"a"], cache[b"a"], cache[b"b"]] == [1, 1, 2]

    def test_strangers_cannot_fill_the_memory(self) -> None:
        cache = LruCache(len, max_entries=10)
        for number in range(1000):
            cache[b"%d" % number]
            cache[b"x" * 1000]
        assert len(cache) <= 10
        assert all(len(key) <= 128 for key in cache)


class TestSockets:
    @pytest.mark.parametrize(
        ("address", "parts"),
        [
            ("127.0.0.1:80", ("127.0.0.1", 80)),
            ("[::1]:80", ("::1", 80)),
            (":80", ("", 80)),
            ("h:0", ("h", 0)),
        ],
    )
    def test_addresses(self, address: str, parts: tuple[str, int]) -> None:
        assert split_address(address) == parts

    @pytest.mark.parametrize("address", ["", "80", "h:", "h:x", "h:65536", "h:-1"])
    def test_what_is_none(self, address: str) -> None:
        with pytest.raises(SocketError, match="HOST:PORT"):
            split_address(address)

    def test_a_path_that_is_too_long(self, tmp_path: Path) -> None:
        with pytest.raises(SocketError, match="shorter state directory"):
            PathListener(tmp_path / ("x" * 120))
