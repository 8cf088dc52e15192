"""The helper's socket, attacked."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from stager.domain.errors import Fault, Retry
from stager.helper import server as module
from stager.helper.protocol import LINE_LIMIT, HelperError
from stager.helper.shapes import fields, integer
from stager.helper.verbs import Feature, Result, Verb, failed
from stager.helper_client import HelperClient
from tests.unit.helper.serving import line, sent, served


class Adding(Feature):
    """Verbs to test with."""

    name = "adding"

    def __init__(self) -> None:
        self.at_once = self.most = self.sleeps = self.ticks = self.stopped = 0
        self._lock = threading.Lock()

    def unavailable(self) -> str:
        return "No paper is left."

    def verbs(self) -> Iterable[Verb]:
        shape = fields(number=integer(1, 9))
        yield Verb("add", shape, lambda given: {"sum": given["number"] + 1}, "a")
        yield Verb("nap", fields(), self._nap, "nap", timeout=0.3)
        yield Verb("sleep", fields(), self._sleep, "sleep", timeout=0.1)
        yield Verb("fail", fields(), self._fail, "a")
        yield Verb("break", fields(), self._break, "a")

    def tick(self) -> None:
        self.ticks += 1
        if self.ticks == 1:
            raise OSError("a bug")

    def stop(self) -> None:
        self.stopped += 1

    def _nap(self, given: Mapping[str, Any]) -> Result:
        with self._lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        time.sleep(0.02)
        with self._lock:
            self.at_once -= 1
        return {}

    def _sleep(self, given: Mapping[str, Any]) -> Result:
        self.sleeps += 1
        time.sleep(0.5)
        return {}

    def _fail(self, given: Mapping[str, Any]) -> Result:
        raise failed("No ink is left.", "ink", "Buy some.")

    def _break(self, given: Mapping[str, Any]) -> Result:
        raise OSError("/etc/shadow can't be read")


async def test_hello_returns_the_version_and_what_is_missing(tmp_path: Path) -> None:
    async with served(tmp_path, Adding()) as path:
        answer = await HelperClient(path).call("hello")
    assert answer == {"version": "1.2.3", "protocol": 1, "features": {"adding": "No paper is left."}}


async def test_the_socket_is_its_users_alone_and_is_removed_in_the_end(tmp_path: Path) -> None:
    feature = Adding()
    async with served(tmp_path, feature) as path:
        facts = path.stat()
        assert stat.S_IMODE(facts.st_mode) == 0o600
        assert facts.st_uid == os.geteuid()
        with pytest.raises(HelperError, match="Another helper"):
            async with served(tmp_path):
                pass
        await asyncio.sleep(0.2)
    assert not path.exists()
    assert feature.ticks > 1, "one that fails is no end"
    assert feature.stopped == 1


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777])
async def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(HelperError, match="only root may write"):
        module.check_folder(tmp_path)
    link = tmp_path / "link"
    link.symlink_to("/")
    with pytest.raises(HelperError):
        module.check_folder(link)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\n", "bad-request"),
        (b"hello\n", "bad-request"),
        (b"[]\n", "bad-request"),
        (b'{"verb":"hello"}\n', "bad-request"),
        (b'{"verb":"hello","fields":{},"user":0}\n', "bad-request"),
        (b'{"verb":"hello","fields":[]}\n', "bad-request"),
        (b'{"verb":["hello"],"fields":{}}\n', "bad-request"),
        (b'{"verb":"add","verb":"hello","fields":{}}\n', "bad-request"),
        (b'{"verb":"add","fields":{"number":NaN}}\n', "bad-request"),
        (b"\xff\xfe\n", "bad-request"),
        (b'{"verb":"add","fields":' + b"[" * 30_000 + b"\n", "bad-request"),
        (line("../../bin/sh"), "unknown-verb"),
        (line("__class__"), "unknown-verb"),
        (line("hello", {"path": "/etc/shadow"}), "bad-request"),
        (line("add"), "bad-request"),
        (line("add", {"number": "1"}), "bad-request"),
        (line("add", {"number": True}), "bad-request"),
        (line("add", {"number": 1.0}), "bad-request"),
        (line("add", {"number": 0}), "bad-request"),
        (line("add", {"number": 10**30}), "bad-request"),
        (line("add", {"number": 1, "rule": "-j ACCEPT"}), "bad-request"),
        (b"x" * (LINE_LIMIT + 10) + b"\n", "too-long"),
        (b"x" * (LINE_LIMIT * 3), "too-long"),
    ],
)
async def test_what_is_no_request_is_refused_with_a_sentence(tmp_path: Path, raw: bytes, reason: str) -> None:
    async with served(tmp_path, Adding()) as path:
        answer = await sent(path, raw)
        assert (answer["ok"], answer["kind"], answer["reason"]) == (False, "refused", reason), answer
        assert answer["message"].endswith(".")
        assert await HelperClient(path).call("add", number=3) == {"sum": 4}, "it goes on"


async def test_a_line_without_an_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IO_TIMEOUT", 0.1)
    async with served(tmp_path, Adding()) as path:
        assert (await sent(path, b'{"verb":"hel', eof=True))["reason"] == "half-line"
        assert (await sent(path, b'{"verb":"hel'))["reason"] == "half-line", "nor is it waited for for ever"


async def test_idle_callers_are_few_and_soon_turned_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IO_TIMEOUT", 0.3)
    async with served(tmp_path) as path:
        idle = [await asyncio.open_unix_connection(str(path)) for _ in range(module.CONNECTIONS + 5)]
        with pytest.raises(Retry) as busy:
            await HelperClient(path).call("hello")
        assert (busy.value.reason, busy.value.detail) == ("helper-failed", "busy")
        await asyncio.sleep(0.4)
        assert await HelperClient(path).call("hello")
        for _, writer in idle:
            writer.close()


async def test_verbs_of_one_lane_run_one_at_a_time(tmp_path: Path) -> None:
    feature = Adding()
    async with served(tmp_path, feature) as path:
        client = HelperClient(path)
        await asyncio.gather(*(client.call("nap") for _ in range(8)))
    assert feature.most == 1


async def test_one_that_takes_long_is_given_up_but_holds_its_lane(tmp_path: Path) -> None:
    async with served(tmp_path, Adding()) as path:
        client = HelperClient(path)
        with pytest.raises(Retry) as slow:
            await client.call("sleep")
        assert slow.value.detail == "slow"
        assert await client.call("add", number=1), "other lanes don't wait"


async def test_what_was_given_up_before_its_turn_is_never_done(tmp_path: Path) -> None:
    feature = Adding()
    async with served(tmp_path, feature) as path:
        client = HelperClient(path)
        asked = [client.call("sleep") for _ in range(module.CONNECTIONS)]
        ends = await asyncio.gather(*asked, return_exceptions=True)
    assert [end.detail for end in ends if isinstance(end, Retry)] == ["slow"] * module.CONNECTIONS
    assert feature.sleeps == 1


async def test_what_fails_comes_as_the_right_ending(tmp_path: Path) -> None:
    async with served(tmp_path, Adding()) as path:
        client = HelperClient(path)
        with pytest.raises(Retry, match=r"No ink is left\..*Buy some") as ink:
            await client.call("fail")
        assert (ink.value.reason, ink.value.detail) == ("helper-failed", "ink")
        with pytest.raises(Fault) as bug:
            await client.call("break")
        assert (bug.value.reason, bug.value.detail) == ("helper-refused", "bug")
        assert "shadow" not in str(bug.value)
        with pytest.raises(Fault):
            await client.call("unheard")


async def test_a_helper_that_isnt_there_or_is_stuck_is_tried_again(tmp_path: Path) -> None:
    with pytest.raises(Retry) as away:
        await HelperClient(tmp_path / "none.sock").call("hello")
    assert away.value.reason == "helper-away"

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        writer.close()

    async with await asyncio.start_unix_server(say_nothing, str(tmp_path / "stuck.sock")):
        with pytest.raises(Retry) as silent:
            await HelperClient(tmp_path / "stuck.sock").call("hello", timeout=0.1)
        await asyncio.sleep(0.3)
    assert silent.value.reason == "helper-away"


@pytest.fixture
def folder_for_all() -> Iterator[Path]:
    """Unlike pytest's own, which its user alone may enter."""
    with tempfile.TemporaryDirectory(prefix="stager-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_other_users_are_refused_even_when_they_reach_the_socket(folder_for_all: Path) -> None:
    ask = (
        "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        ' s.sendall(b\'{"verb":"hello","fields":{}}\\n\'); print(s.makefile().readline())'
    )

    def asked(path: Path, user: int) -> subprocess.CompletedProcess[str]:
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        command = [*become, sys.executable, "-I", "-c", ask, str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    async with served(folder_for_all, user=1234) as path:
        stranger = await asyncio.to_thread(asked, path, 65534)
        assert "PermissionError" in stranger.stderr, "the socket's mode"
        path.chmod(0o666)
        stranger = await asyncio.to_thread(asked, path, 65534)
        assert '"reason":"not-allowed"' in stranger.stdout, "its credentials"
        owner = await asyncio.to_thread(asked, path, 1234)
        assert '"ok":true' in owner.stdout
