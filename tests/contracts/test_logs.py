"""What every store of build logs promises. Each test runs against files and against the one in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stager.ports.logs import Logs
from stager.stores.logs import FileLogs
from stager.testing.fakes.logs import MemoryLogs

MEGABYTE = 1 << 20


@pytest.fixture(params=["memory", "files"])
def logs(request: pytest.FixtureRequest, tmp_path: Path) -> Logs:
    return MemoryLogs() if request.param == "memory" else FileLogs(tmp_path / "builds")


def pieces(logs: Logs, key: str = "a1") -> str:
    """The whole log, read from place to place until nothing comes."""
    read: list[str] = []
    offset = 0
    while True:
        text, after = logs.read(key, offset)
        if not text:
            assert after == offset
            return "".join(read)
        assert after > offset
        read.append(text)
        offset = after


class TestRead:
    def test_nothing_at_first(self, logs: Logs) -> None:
        assert logs.read("a1") == ("", 0)
        assert logs.read("a1", 7) == ("", 7)

    def test_an_empty_one(self, logs: Logs) -> None:
        logs.begin("a1")

        assert logs.read("a1") == ("", 0)

    def test_lines_in_their_order(self, logs: Logs) -> None:
        logs.begin("a1")
        for line in ("#1 FROM base", "", "  indented\t", "#2 grün 🚀"):
            logs.add("a1", line)

        assert logs.read("a1")[0] == "#1 FROM base\n\n  indented\t\n#2 grün 🚀\n"

    def test_continues_where_it_ended(self, logs: Logs) -> None:
        logs.begin("a1")
        logs.add("a1", "grün")
        first, offset = logs.read("a1")
        assert logs.read("a1", offset) == ("", offset)
        logs.add("a1", "🚀")
        second, offset = logs.read("a1", offset)
        logs.add("a1", "end")

        assert (first, second, logs.read("a1", offset)[0]) == ("grün\n", "🚀\n", "end\n")

    def test_beyond_the_end(self, logs: Logs) -> None:
        logs.begin("a1")
        logs.add("a1", "x")

        assert logs.read("a1", 1_000) == ("", 1_000)

    @pytest.mark.parametrize("line", ["\ud800", "a\x00b", "\x1b[31mred", "a\r\nb"])
    def test_whatever_a_build_prints_can_be_sent_on(self, logs: Logs, line: str) -> None:
        logs.begin("a1")
        logs.add("a1", line)
        logs.add("a1", "after")

        text = logs.read("a1")[0]
        assert text.encode()
        assert text.endswith("\nafter\n")

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20)))
    def test_any_text_comes_back(self, logs: Logs, lines: list[str]) -> None:
        logs.begin("a1")
        offset, read = 0, ""
        for line in lines:
            logs.add("a1", line)
            text, offset = logs.read("a1", offset)
            read += text

        assert read == pieces(logs) == "".join(f"{line}\n" for line in lines)


class TestBegin:
    def test_has_it_empty_whatever_there_was(self, logs: Logs) -> None:
        logs.add("a1", "of the time before")
        logs.begin("a1")
        logs.add("a1", "new")

        assert logs.read("a1")[0] == "new\n"

    def test_one_isnt_another(self, logs: Logs) -> None:
        for key in ("a1", "b2"):
            logs.begin(key)
            logs.add(key, key)
        logs.begin("a1")

        assert (logs.read("a1")[0], logs.read("b2")[0]) == ("", "b2\n")

    @pytest.mark.parametrize("key", ["", "../a1", "a/b", "a.log", "a b", "a\x00"])
    def test_what_cant_be_a_key(self, logs: Logs, key: str) -> None:
        with pytest.raises(ValueError, match="can't name a log"):
            logs.begin(key)
        with pytest.raises(ValueError, match="can't name a log"):
            logs.add(key, "x")
        with pytest.raises(ValueError, match="can't name a log"):
            logs.read(key)


class TestTooLong:
    ENOUGH = "(what follows isn't kept: the log is too long)\n"

    @pytest.mark.parametrize("length", [1_000, MEGABYTE // 3, MEGABYTE, 10 * MEGABYTE])
    def test_says_so_once_and_keeps_no_more(self, logs: Logs, length: int) -> None:
        """Not a short line either that would still fit: it would seem to follow on what is missing."""
        logs.begin("a1")
        for number in range(6 * MEGABYTE // length + 2):
            logs.add("a1", f"{number} ".ljust(length, "x"))
        logs.add("a1", "short")

        text = pieces(logs)
        assert text == logs.read("a1")[0]
        assert text.startswith("0 x")
        assert text.count(self.ENOUGH) == 1
        assert text.endswith(f"\n{self.ENOUGH}")
        assert 3 * MEGABYTE < len(text) < 5 * MEGABYTE

    def test_in_the_middle_of_a_letter(self, logs: Logs) -> None:
        logs.begin("a1")
        for _ in range(5):
            logs.add("a1", "🚀" * (MEGABYTE // 4))

        assert pieces(logs).endswith(f"\n{self.ENOUGH}")

    def test_begun_again_it_has_room_again(self, logs: Logs) -> None:
        logs.add("a1", "x" * 10 * MEGABYTE)
        logs.begin("a1")
        logs.add("a1", "new")

        assert logs.read("a1")[0] == "new\n"


class TestSweep:
    def test_what_isnt_kept_is_removed(self, logs: Logs) -> None:
        for key in ("a1", "b2", "c3"):
            logs.begin(key)
            logs.add(key, key)

        assert logs.sweep(["b2", "never", ""]) == 2
        assert [logs.read(key)[0] for key in ("a1", "b2", "c3")] == ["", "b2\n", ""]
        assert logs.sweep({"b2"}) == 0
        assert logs.sweep(set()) == 1

    def test_of_none(self, logs: Logs) -> None:
        assert logs.sweep([]) == 0


class TestFiles:
    """What files have to do besides."""

    def test_outlive_the_process(self, tmp_path: Path) -> None:
        FileLogs(tmp_path).add("a1", "before")
        again = FileLogs(tmp_path)
        again.add("a1", "after")

        assert again.read("a1")[0] == "before\nafter\n"

    def test_other_users_cant_read_them(self, tmp_path: Path) -> None:
        FileLogs(tmp_path / "builds")

        assert (tmp_path / "builds").stat().st_mode & 0o077 == 0

    def test_half_a_line_isnt_shown_before_it_is_whole(self, tmp_path: Path) -> None:
        logs = FileLogs(tmp_path)
        logs.add("a1", "whole")
        with (tmp_path / "a1.log").open("ab") as file:
            file.write("hälf".encode()[:2])
            file.flush()
            text, offset = logs.read("a1")
            file.write("hälf".encode()[2:] + b"\n")

        assert text == "whole\n"
        assert logs.read("a1", offset) == ("hälf\n", offset + 6)

    def test_what_cant_be_written_costs_lines_and_nothing_else(self, tmp_path: Path) -> None:
        logs = FileLogs(tmp_path / "builds")
        (tmp_path / "builds" / "a1.log").mkdir()
        logs.begin("a1")
        logs.add("a1", "lost")
        assert logs.read("a1") == ("", 0)
        (tmp_path / "builds" / "a1.log").rmdir()
        (tmp_path / "builds").rmdir()
        logs.begin("b2")
        logs.add("b2", "lost")

        assert logs.read("b2") == ("", 0)
        assert logs.sweep([]) == 0

    def test_what_isnt_a_log_of_ours_stays(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("mine")

        assert FileLogs(tmp_path).sweep([]) == 0
        assert (tmp_path / "notes.txt").exists()
