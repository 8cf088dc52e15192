"""What commands on the server's machine promise: the fake's contract, and the processes of the real ones."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stager.ports.server_commands import CommandResult, ServerCommands
from stager.server_commands.runner import MAX_ERRORS, LocalCommands
from stager.testing.fakes.server_commands import FakeServerCommands

PATIENCE = 20.0


@pytest.fixture(params=["memory", "local"])
def commands(request: pytest.FixtureRequest, tmp_path: Path) -> ServerCommands:
    if request.param == "local":
        script = tmp_path / "hook"
        script.write_text('#!/bin/sh\nprintf "$GREETING $1 in $PWD"\necho oh >&2\nexit 3\n')
        script.chmod(0o755)
        return LocalCommands()
    return FakeServerCommands(
        {
            "./hook": lambda run: CommandResult(
                3, f"{run.variables['GREETING']} {run.command[1]} in {run.folder}".encode(), "oh\n"
            )
        }
    )


async def test_a_command_has_output_errors_and_an_exit_code(commands: ServerCommands, tmp_path: Path) -> None:
    ran = await commands.run(
        ["./hook", "Ann"], {"GREETING": "Ahoy"}, folder=str(tmp_path), timeout=PATIENCE, max_output=1_000
    )

    assert ran == CommandResult(3, f"Ahoy Ann in {tmp_path}".encode(), "oh\n")


async def test_of_its_output_one_byte_more_than_wanted_is_kept(
    commands: ServerCommands, tmp_path: Path
) -> None:
    ran = await commands.run(
        ["./hook", "Ann"], {"GREETING": "Ahoy"}, folder=str(tmp_path), timeout=PATIENCE, max_output=3
    )

    assert ran.output == b"Ahoy"


async def test_a_program_that_is_missing_ends_with_127(commands: ServerCommands, tmp_path: Path) -> None:
    ran = await commands.run(["./missing"], {}, folder=str(tmp_path), timeout=PATIENCE, max_output=1_000)

    assert (ran.exit_code, ran.errors.strip()) == (127, "./missing: No such file or directory")


async def run_local(*command: str, timeout: float = PATIENCE, folder: str = "/") -> CommandResult:
    return await LocalCommands().run(
        command, {"NAME": "x"}, folder=folder, timeout=timeout, max_output=1_000_000
    )


class TestProcesses:
    @pytest.mark.attack(
        "Read Stager's own environment variables in a server hook",
        profile="server hook",
        result="it has `PATH` and the facts about the preview only",
    )
    async def test_have_nothing_of_the_servers_environment_but_the_path(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GITHUB_TOKEN", "ghp_secret")
        ran = await run_local("env")

        names = {line.partition("=")[0] for line in ran.output.decode().splitlines()}
        assert names == {"NAME", "PATH"}
        assert f"PATH={os.environ['PATH']}" in ran.output.decode()

    async def test_have_no_input_and_no_other_open_files(self) -> None:
        ran = await run_local("sh", "-c", "cat; ls /proc/self/fd")

        assert ran.output.split() in ([b"0", b"1", b"2", b"3"], [b"0", b"1", b"2"])

    @pytest.mark.attack(
        "Shell syntax in what a server hook gets",
        profile="server hook",
        result="no shell is run, so it stays text",
    )
    async def test_no_shell_interprets_the_words(self) -> None:
        ran = await run_local("printf", "%s", "$NAME;`id`")

        assert ran.output == b"$NAME;`id`"

    async def test_a_signal_is_shown_as_by_a_shell(self) -> None:
        assert (await run_local("sh", "-c", "kill -TERM $$")).exit_code == 128 + signal.SIGTERM

    async def test_the_end_of_standard_error_is_kept(self) -> None:
        ran = await run_local("sh", "-c", "yes | head -c 300000 >&2; echo the end >&2")

        assert len(ran.errors) == MAX_ERRORS
        assert ran.errors.endswith("the end\n")

    async def test_a_missing_folder_is_named(self) -> None:
        ran = await run_local("true", folder="/nowhere")

        assert (ran.exit_code, ran.errors) == (127, "/nowhere: No such file or directory")

    async def test_one_that_takes_too_long_is_killed_with_its_children(self, tmp_path: Path) -> None:
        ran = await run_local("sh", "-c", f"sleep 1000 & echo $! > {tmp_path}/pid; wait", timeout=1)

        assert ran.exit_code is None
        assert_ends(int((tmp_path / "pid").read_text()))

    async def test_one_whose_call_is_cancelled_is_killed_with_its_children(self, tmp_path: Path) -> None:
        script = f"sleep 1000 & echo $! > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; wait"
        running = asyncio.create_task(run_local("sh", "-c", script))
        while not (tmp_path / "pid").exists():
            await asyncio.sleep(0.02)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

        assert_ends(int((tmp_path / "pid").read_text()))

    async def test_children_that_are_left_in_the_background_end_with_it(self, tmp_path: Path) -> None:
        ran = await run_local("sh", "-c", f"sleep 1000 & echo $! > {tmp_path}/pid")

        assert ran.exit_code == 0
        assert_ends(int((tmp_path / "pid").read_text()))

    async def test_one_that_leaves_its_group_delays_the_result_until_the_timeout_only(
        self, tmp_path: Path
    ) -> None:
        pid = tmp_path / "pid"
        script = f"setsid sh -c 'echo $$ > {pid}; exec sleep 1000' & while [ ! -s {pid} ]; do :; done"
        ran = await run_local("sh", "-c", script, timeout=2)
        os.kill(int(pid.read_text()), signal.SIGKILL)

        assert ran.exit_code is None


def test_they_end_when_stager_is_killed(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    program = f"""
import asyncio
from stager.server_commands.runner import LocalCommands
command = ["sh", "-c", "echo $$ > {pid}.new; mv {pid}.new {pid}; sleep 1000"]
asyncio.run(LocalCommands().run(command, {{}}, folder="/", timeout=1000, max_output=1))
"""
    stager = subprocess.Popen([sys.executable, "-c", program])
    try:
        deadline = time.monotonic() + PATIENCE
        while not pid.exists():
            assert time.monotonic() < deadline, "the command didn't start"
            time.sleep(0.02)
    finally:
        stager.kill()
        stager.wait()

    assert_ends(int(pid.read_text()))


def assert_ends(pid: int) -> None:
    """Assert that this process is gone, or is a zombie that its new parent hasn't reaped."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.02)
    raise AssertionError(f"process {pid} still runs")
