"""Real pushes: what Stager receives, and what the user who pushes reads."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from stager.domain.errors import Refused
from stager.domain.pull_requests.events import ChangeAction
from stager.domain.source import Access, Repository
from stager.forges.local import push_client
from stager.forges.local.forge import LocalForge
from stager.forges.local.push_client import DELIVERY, REPOSITORY, SIGNATURE, signature
from stager.forges.local.repository import LocalRepository
from stager.ports.source import Origin
from stager.sources import GitSources, Limits
from stager.web.forges import push_progress
from tests.local_forge.workshop import Clone, Ear, listening

OPENED, SYNCHRONIZE, REOPENED, CLOSED = (
    ChangeAction.OPENED,
    ChangeAction.SYNCHRONIZE,
    ChangeAction.REOPENED,
    ChangeAction.CLOSED,
)
SHOP = Repository("local:shop", "local", "shop")


@contextmanager
def patched(variables: dict[str, str]) -> Iterator[None]:
    """Environment variables, as git sets them for a hook."""
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return tmp_path / "shop.git"


@pytest.fixture
def forge(bare: Path) -> LocalForge:
    return LocalForge({"shop": bare}, lambda: "http://stager.test")


@pytest.fixture
async def ear(forge: LocalForge) -> AsyncIterator[Ear]:
    with listening(Ear(forge)) as ear:
        await forge.open(ear.url)
        yield ear


@pytest.fixture
def clone(tmp_path: Path, bare: Path) -> Clone:
    return Clone(tmp_path / "clone", bare)


def told(ear: Ear) -> list[tuple[ChangeAction, int, str]]:
    return [(event.action, event.change.number, event.change.head_ref) for event in ear.heard]


class TestWait:
    """Pushes with the option `wait`, which print a response that goes on."""

    async def test_the_protocol_is_the_server_s(self) -> None:
        ours = (push_client.WAIT, push_client.END, push_client.LONGEST_WAIT)
        assert ours == (push_progress.WAIT, push_progress.END, push_progress.LONGEST_WAIT)

    async def test_waits_only_with_the_option(self, clone: Clone, ear: Ear) -> None:
        clone.branch("x")
        clone.push("main", "x")
        clone.commit("y", "1")
        clone.push("-o", "other", "x")
        assert ear.waits == [False, False]
        clone.commit("y", "2")
        ear.answer = "{} it\nbuilding\n\nlive\n" + push_client.END
        assert clone.push("-o", "ci.skip", "-o", "wait", "x") == [f"{SYNCHRONIZE} it", "building", "live"]
        assert ear.waits[-1]

    async def test_says_that_the_connection_was_lost(self, clone: Clone, ear: Ear) -> None:
        ear.answer = "{} it\nbuilding\n"
        clone.branch("x")
        assert clone.push("-o", "wait", "main", "x") == [f"{OPENED} it", "building", push_client.LOST]

    async def test_says_why_the_push_was_refused(self, clone: Clone, ear: Ear, bare: Path) -> None:
        (bare / "stager" / "secret").write_text("other")
        clone.branch("x")
        lines = clone.push("-o", "wait", "main", "x")
        assert lines == ["The delivery's signature doesn't match its body."]

    async def test_says_that_stager_isnt_running(self, clone: Clone, forge: LocalForge) -> None:
        await forge.open("http://127.0.0.1:1")
        clone.branch("x")
        assert clone.push("-o", "wait", "main", "x") == [push_client.AWAY]

    async def test_lines_come_as_they_are_written(self, bare: Path, forge: LocalForge) -> None:
        said: list[str] = []
        is_said = threading.Event()

        def say(line: str) -> None:
            said.append(line)
            is_said.set()

        with socket.create_server(("127.0.0.1", 0)) as server:
            await forge.open(f"http://127.0.0.1:{server.getsockname()[1]}")
            refs = [f"{'0' * 40} {'1' * 40} refs/heads/x\n"]
            with patched({"GIT_PUSH_OPTION_COUNT": "1", "GIT_PUSH_OPTION_0": "wait"}):
                worker = threading.Thread(target=push_client.report_push, args=(bare, refs, say))
                worker.start()
                connection, _ = server.accept()
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Type: text/plain\r\n\r\nopened\nbuil")
                assert await asyncio.to_thread(is_said.wait, 30)
                assert said == ["opened"]
                connection.sendall(b"ding \x1b[31m\n\x00")
                connection.close()
                await asyncio.to_thread(worker.join, 30)
        assert said == ["opened", "building  [31m"]


class TestPush:
    async def test_of_the_default_branch_is_no_change(self, clone: Clone, ear: Ear) -> None:
        assert clone.push("main") == []
        assert ear.heard == []

    async def test_of_a_branch_opens_a_change(self, clone: Clone, ear: Ear, forge: LocalForge) -> None:
        clone.push("main")
        sha = clone.branch("feature/x")
        lines = clone.push("feature/x")
        [event] = ear.heard

        assert lines == ["opened it, http://feature.localhost:8000"]
        assert (event.action, event.change.number, event.change.head_sha) == (OPENED, 1, sha)
        assert (event.change.title, event.change.author, event.change.base_ref) == (
            "A change",
            "Olga",
            "main",
        )
        assert event.change.repository == SHOP
        assert event.change == await forge.change(SHOP, 1)

    async def test_the_whole_life_of_a_branch(self, clone: Clone, ear: Ear) -> None:
        clone.push("main")
        first = clone.branch("x")
        clone.push("x")
        second = clone.commit("y", "1")
        clone.push("x")
        forced = clone.branch("x")
        clone.push("--force", "x")
        clone.push("--delete", "x")
        clone.push("x")

        assert [action for action, _, _ in told(ear)] == [OPENED, SYNCHRONIZE, SYNCHRONIZE, CLOSED, REOPENED]
        assert {number for _, number, _ in told(ear)} == {1}
        heads = [(event.change.head_before, event.change.head_sha) for event in ear.heard]
        assert heads[:3] == [("", first), (first, second), (second, forced)]
        stamps = [event.change.updated_at for event in ear.heard]
        assert stamps == sorted(set(stamps))
        assert ear.refused == []

    async def test_of_several_branches_at_once(self, clone: Clone, ear: Ear) -> None:
        for name in ("one", "two"):
            clone.branch(name)
        clone.push("main", "one", "two")
        clone.git("push", "stager", "--delete", "one")
        clone.branch("three")
        clone.push("two:four", "three", ":two")

        assert sorted(told(ear)[:2]) == [(OPENED, 1, "one"), (OPENED, 2, "two")]
        assert told(ear)[2] == (CLOSED, 1, "one")
        later = sorted(told(ear)[3:])
        assert [(action, branch) for action, _, branch in later] == [
            (CLOSED, "two"), (OPENED, "four"), (OPENED, "three")]  # fmt: skip
        assert {number for _, number, _ in later} == {2, 3, 4}

    async def test_from_a_shallow_clone(
        self, clone: Clone, ear: Ear, forge: LocalForge, bare: Path, tmp_path: Path
    ) -> None:
        """As CI jobs have them. The repository then lacks the older history, and builds don't need it."""
        clone.commit("older", "1")
        clone.commit("newer", "2")
        job = Clone(tmp_path / "job", bare)
        job.git("fetch", "--quiet", "--depth=1", f"file://{clone.folder}", "main")
        job.git("reset", "--quiet", "--hard", "FETCH_HEAD")
        job.push("main")
        sha = job.branch("x")
        job.push("x")

        [event] = ear.heard
        assert (event.action, event.change.head_sha) == (OPENED, sha)
        assert await forge.paths(SHOP, event.change.number) == ["x"]
        sources = GitSources(tmp_path / "sources", Limits())
        async with sources.checkout("shop", Origin(str(bare)), sha) as folder:
            assert {path.name for path in folder.iterdir()} == {"README", "older", "newer", "x"}
        clone.branch("y")  # a clone with all of the history pushes to it as well
        clone.push("y")
        assert ear.heard[-1].change.head_ref == "y"

    async def test_to_a_repository_of_two_applications(self, clone: Clone, bare: Path) -> None:
        """Each has the change as its own, at once."""
        forge = LocalForge({"web": bare, "api": bare, "other": bare.with_name("other.git")})
        with listening(Ear(forge)) as ear:
            await forge.open(ear.url)
            clone.push("main")
            clone.branch("x")
            clone.push("x")
            clone.commit("y", "1")
            clone.push("x")
            clone.push("--delete", "x")

        heard = [(event.action, event.change.repository.name) for event in ear.heard]
        assert sorted(heard[:2]) == [(OPENED, "api"), (OPENED, "web")]
        assert sorted(heard[2:4]) == [(SYNCHRONIZE, "api"), (SYNCHRONIZE, "web")]
        assert sorted(heard[4:]) == [(CLOSED, "api"), (CLOSED, "web")]
        assert ear.refused == []

    async def test_deliveries_of_two_applications_have_ids_of_their_own(
        self, clone: Clone, bare: Path
    ) -> None:
        forge = LocalForge({"web": bare, "api": bare})
        await forge.open("")
        clone.push("main", "main:x", "main:y")
        refs = b"".join(b"0000 1111 refs/heads/%b\n" % name for name in (b"x", b"y"))
        secret = LocalRepository(bare).secret
        headers = {REPOSITORY: "web", DELIVERY: "d1", SIGNATURE: signature(secret, refs)}
        told = await forge.receive(headers, refs)

        assert len({delivery.id for delivery in told}) == 4

    async def test_of_a_tag_is_nothing(self, clone: Clone, ear: Ear) -> None:
        clone.git("tag", "v1")
        assert clone.push("main", "v1") == []
        assert ear.heard == []

    async def test_a_merged_branch(self, clone: Clone, ear: Ear) -> None:
        clone.push("main")
        clone.branch("x")
        clone.push("x")
        clone.git("checkout", "--quiet", "main")
        clone.git("merge", "--quiet", "x")
        clone.push("main", ":x")
        assert (ear.heard[-1].action, ear.heard[-1].change.merged) == (CLOSED, True)

    async def test_before_it_there_was_no_default_branch(self, clone: Clone, ear: Ear, bare: Path) -> None:
        clone.git("branch", "--move", "main", "trunk")
        assert clone.push("trunk") == []
        assert (bare / "HEAD").read_text() == "ref: refs/heads/trunk\n"
        clone.git("checkout", "--quiet", "-b", "x")
        clone.push("x")
        assert told(ear) == [(OPENED, 1, "x")]

    async def test_of_a_branch_with_a_strange_name(self, clone: Clone, ear: Ear) -> None:
        """Some characters end a line for Python, and none for git."""
        clone.branch("x")
        clone.push("main", "x:a\u2028b\x85c", "x")
        assert sorted(branch for _, _, branch in told(ear)) == ["a\u2028b\x85c", "x"]

    async def test_to_a_repository_with_a_detached_head(self, clone: Clone, ear: Ear, bare: Path) -> None:
        clone.push("main")
        (bare / "HEAD").write_text(f"{clone.git('rev-parse', 'main').stdout}")
        clone.branch("x")
        [line] = clone.push("x")
        assert "can't be read" in line
        assert not (bare / "HEAD").read_text().startswith("ref:")

    async def test_to_the_refs_of_changes_is_refused(self, clone: Clone, ear: Ear) -> None:
        clone.push("main")
        with pytest.raises(subprocess.CalledProcessError, match="push"):
            clone.push("main:refs/pull/1/head")

    async def test_leaves_the_head_of_each_change_where_it_can_be_fetched(
        self, clone: Clone, ear: Ear
    ) -> None:
        sha = clone.branch("x")
        clone.push("main", "x")
        clone.push(":x")
        clone.git("fetch", "--quiet", "stager", "refs/pull/1/head")
        assert clone.git("rev-parse", "FETCH_HEAD").stdout.strip() == sha


def drip(server: socket.socket) -> None:
    """Answer one client a byte every 0.02 s, until it has enough."""
    connection, _ = server.accept()
    with connection, suppress(ConnectionError):
        for _ in range(1000):
            connection.sendall(b"x")
            time.sleep(0.02)


class TestUnreported:
    async def test_because_stager_doesnt_run(self, clone: Clone, forge: LocalForge) -> None:
        await forge.open("http://127.0.0.1:9")
        clone.branch("x")
        assert clone.push("main", "x") == [push_client.AWAY]
        assert [change.number for change in await forge.open_changes(SHOP)] == [1]
        assert clone.push(":x") == [push_client.AWAY]
        assert await forge.open_changes(SHOP) == []

    async def test_because_it_never_ran(self, clone: Clone, bare: Path) -> None:
        repository = LocalRepository(bare)
        await repository.adopt()
        clone.branch("x")
        [line] = clone.push("main", "x")
        assert "couldn't be reported to Stager" in line
        assert "stager/name" in line
        repository.introduce("shop")
        assert clone.push("x:y") == [push_client.AWAY]

    async def test_because_the_answer_comes_a_byte_at_a_time(
        self, bare: Path, forge: LocalForge, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(push_client, "PATIENCE", 0.5)
        said: list[str] = []
        with socket.create_server(("127.0.0.1", 0)) as server:
            await forge.open(f"http://127.0.0.1:{server.getsockname()[1]}")
            dripping = threading.Thread(target=drip, args=(server,))
            dripping.start()
            await asyncio.to_thread(
                push_client.report_push, bare, [f"{'0' * 40} {'1' * 40} refs/heads/x"], said.append
            )
            dripping.join(30)
        assert said == [push_client.SILENT]

    async def test_because_another_program_answers(self, clone: Clone, ear: Ear) -> None:
        ear.media_type = "text/html"
        clone.branch("x")
        assert clone.push("main", "x") == [push_client.AWAY]

    async def test_because_the_secret_is_another(self, clone: Clone, ear: Ear, bare: Path) -> None:
        (bare / "stager" / "secret").write_text("other")
        clone.branch("x")
        assert clone.push("main", "x") == ["The delivery's signature doesn't match its body."]
        assert ear.refused == ["signature-wrong"]

    async def test_because_stager_hangs(
        self, clone: Clone, ear: Ear, bare: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ear.pause = threading.Event()
        clone.branch("x")
        shutil.rmtree(bare / "hooks")
        clone.push("main", "x")
        monkeypatch.setattr(push_client, "PATIENCE", 0.2)
        said: list[str] = []
        refs = [f"{'0' * 40} {clone.git('rev-parse', 'x').stdout.strip()} refs/heads/x\n"]
        worker = threading.Thread(target=push_client.report_push, args=(bare, refs, said.append))
        worker.start()
        worker.join(30)
        ear.pause.set()
        assert said == [push_client.SILENT]

    async def test_because_our_python_is_gone(self, clone: Clone, ear: Ear, bare: Path) -> None:
        hook = bare / "hooks" / "post-receive"
        python = hook.read_text().partition("if [ -x /")[2].partition(" ]")[0]
        hook.write_text(hook.read_text().replace(f"/{python}", "/nowhere/python"))
        [line] = clone.push("main")
        assert "run 'stager forge init'" in line

    async def test_because_our_program_is_gone(self, clone: Clone, ear: Ear, bare: Path) -> None:
        hook = bare / "hooks" / "post-receive"
        hook.write_text(hook.read_text().replace(push_client.__file__, "/nowhere/pushed.py"))
        [line] = clone.push("main")
        assert "run 'stager forge init'" in line

    async def test_because_the_register_is_broken(self, clone: Clone, ear: Ear, bare: Path) -> None:
        for name in ("x", "y"):
            clone.branch(name)
        clone.push("main", "x", "y", "y:z")
        before = {event.change.head_ref: event.change.number for event in ear.heard}
        (bare / "stager" / "changes.json").write_text("{")
        clone.branch("w")
        clone.push("w")

        assert told(ear)[-1] == (OPENED, 4, "w")
        assert before["x"] == 1
        now = {change.head_ref: change.number for change in await ear.forge.open_changes(SHOP)}
        assert now["x"] == 1
        assert sorted(now.values()) == [1, 2, 3, 4]

    async def test_and_an_answer_is_only_text(self, clone: Clone, ear: Ear) -> None:
        ear.answer = "{} \x1b[2J\r\nit \x07"
        clone.branch("x")
        assert clone.push("main", "x") == ["opened  [2J", "it"]


class TestRepository:
    async def test_has_a_secret_that_others_cant_read(self, forge: LocalForge, bare: Path) -> None:
        await forge.open("http://127.0.0.1:9")
        secret = bare / "stager" / "secret"
        before = secret.read_text()
        assert (len(before.strip()), secret.stat().st_mode & 0o777) == (64, 0o600)
        await forge.open("http://127.0.0.1:9")
        assert secret.read_text() == before

    async def test_keeps_a_hook_of_its_own(self, clone: Clone, ear: Ear, bare: Path) -> None:
        hook = bare / "hooks" / "post-receive"
        hook.write_text(f"#!/bin/sh\ncat > {bare}/heard\n")
        hook.chmod(0o755)
        for _ in range(2):
            await ear.forge.open(ear.url)
        clone.branch("x")
        clone.push("main", "x")
        assert (bare / "heard").read_text().count("refs/heads/") == 2
        assert told(ear) == [(OPENED, 1, "x")]

    async def test_isnt_a_working_repository(self, clone: Clone) -> None:
        with pytest.raises(Exception, match="isn't a bare repository"):
            await LocalRepository(clone.folder).adopt()

    async def test_is_taken_in_with_its_branches(self, clone: Clone, tmp_path: Path, bare: Path) -> None:
        clone.branch("x")
        subprocess.run(["git", "clone", "--quiet", "--bare", clone.folder, bare], check=True)
        forge = LocalForge({"shop": bare})
        await forge.open("http://127.0.0.1:9")
        # A clone's HEAD is where its origin's was.
        assert [change.head_ref for change in await forge.open_changes(SHOP)] == ["main"]

    async def test_numbers_are_given_once_by_many(self, clone: Clone, ear: Ear, bare: Path) -> None:
        clone.push("main")
        names = [f"b{n}" for n in range(6)]
        for name in names:
            clone.branch(name)
        variables = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
        push = ["git", "push", "--quiet", "stager"]
        pushes = [
            subprocess.Popen([*push, name], cwd=clone.folder, env=variables, stderr=subprocess.DEVNULL)
            for name in names
        ]
        assert [process.wait() for process in pushes] == [0] * 6
        assert sorted(number for _, number, _ in told(ear)) == [1, 2, 3, 4, 5, 6]


class TestPeople:
    async def test_the_owner_may_do_everything(self, forge: LocalForge, bare: Path) -> None:
        assert await forge.access(SHOP, "local") is Access.ADMIN
        assert await forge.access(SHOP, "olga") is Access.NONE

    async def test_paths_are_those_that_differ_from_the_base(self, clone: Clone, ear: Ear) -> None:
        clone.branch("x")
        clone.commit("Grüße aus\tKöln", "1")
        clone.git("checkout", "--quiet", "main")
        clone.commit("later", "1")
        clone.push("main", "x")
        assert sorted(await ear.forge.paths(SHOP, 1)) == ["Grüße aus\tKöln", "x"]

    async def test_paths_of_a_branch_without_a_common_commit(self, clone: Clone, ear: Ear) -> None:
        clone.git("checkout", "--quiet", "--orphan", "x")
        clone.commit("alone", "1")
        clone.push("main", "x")
        assert sorted(await ear.forge.paths(SHOP, 1)) == ["README", "alone"]


class TestOrigin:
    async def test_is_the_path(self, clone: Clone, ear: Ear, bare: Path) -> None:
        origin = await ear.forge.origin(SHOP, 7)
        assert (origin.url, origin.refs, origin.authorization) == (str(bare), ("refs/pull/7/head",), "")


def test_the_hooks_settings_are_stored(tmp_path: Path) -> None:
    repository, ours = LocalRepository(tmp_path), tmp_path / "stager"
    ours.mkdir()
    repository.introduce("shop")
    assert ((ours / "name").read_text(), (ours / "server").read_text()) == ("shop\n", "\n")
    repository.introduce("shop", "http://127.0.0.1:8000")
    repository.introduce("store")
    assert ((ours / "name").read_text(), (ours / "server").read_text()) == (
        "store\n",
        "http://127.0.0.1:8000\n",
    )


async def test_a_push_of_all_too_much_is_refused(forge: LocalForge) -> None:
    with pytest.raises(Refused, match="larger than 1 MB"):
        await forge.receive({}, b"0" * (1024 * 1024 + 1))


async def test_what_isnt_a_push_is_refused(forge: LocalForge, bare: Path) -> None:
    await forge.open("http://127.0.0.1:9")
    signed = push_client.signature(LocalRepository(bare).secret, b"nonsense")
    with pytest.raises(Refused, match="can't be read"):
        await forge.receive({push_client.REPOSITORY: "shop", push_client.SIGNATURE: signed}, b"nonsense")
