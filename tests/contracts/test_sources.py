"""What every source of commits promises. Each test runs against the one in memory and against real git."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest

from stager.domain.errors import Fault, Retry, StagerError
from stager.ports.source import Origin, Sources
from stager.sources import GitSources
from stager.testing import FakeSources, SourceFaultMode
from stager.testing.fakes.sources import Files, Link
from tests.doubles.git import BareRepository, GitHost, olga

KEY = "github:101"
FILES: Files = {
    "Dockerfile": "FROM scratch\n",
    "site/index.html": b"<h1>Hi</h1>\n",
    "link": Link("Dockerfile"),
}
MISSING = "d" * 40
STRANGERS = [
    "refs/pull/34/head",
    "refs/pull/34/merge",
    "refs/merge-requests/34/head",
    "refs/pull-requests/34/from",
    "refs/changes/34/34/1",
    "refs/stager/x",
    "refs/notes/x",
]
"""Refs outside of branches and tags: anybody's commits may be there."""


class Remote(Protocol):
    """A repository, and what fetches from it.

    Attributes:
        has_host: whether it is fetched from a server, which may fail or refuse.
    """

    sources: Sources
    origin: Origin
    has_host: bool

    def commit(self, files: Files, *refs: str) -> str:
        """A commit with exactly these files is pushed. Returns its id."""

    def delete(self, ref: str) -> None: ...
    async def away(self) -> None:
        """The repository can't be reached from now on."""

    def refuse(self) -> None:
        """The credentials are no good from now on."""


class FakeRemote:
    def __init__(self) -> None:
        self._fake = FakeSources()
        self.sources: Sources = self._fake
        self.has_host = True
        self.origin = Origin("https://forge.test/acme/shop.git")
        self._commits = 0

    def commit(self, files: Files, *refs: str) -> str:
        self._commits += 1
        sha = f"{self._commits:040x}"
        self._fake.add(self.origin.url, sha, files, *refs)
        return sha

    def delete(self, ref: str) -> None:
        self._fake.remove(self.origin.url, ref)

    async def away(self) -> None:
        self._fake.fault_mode = SourceFaultMode.AWAY

    def refuse(self) -> None:
        self._fake.fault_mode = SourceFaultMode.REFUSING


class PathRemote:
    def __init__(self, folder: Path) -> None:
        self.repository = BareRepository(folder / "shop.git")
        self.sources: Sources = GitSources(folder / "sources")
        self.origin = Origin(str(self.repository.path))
        self.has_host = False

    def commit(self, files: Files, *refs: str) -> str:
        return self.repository.commit(files, *refs)

    def delete(self, ref: str) -> None:
        self.repository.git("update-ref", "-d", ref)

    async def away(self) -> None:
        self.repository.path.rename(self.repository.path.with_suffix(".away"))

    def refuse(self) -> None:
        pytest.skip("a path asks for no credentials")


class HttpRemote(PathRemote):
    def __init__(self, folder: Path, host: GitHost) -> None:
        super().__init__(folder)
        self._host = host
        self.origin = Origin(f"{host.url}/shop.git", (), host.authorization)
        self.has_host = True

    async def away(self) -> None:
        await self._host.stop()

    def refuse(self) -> None:
        self._host.authorization = olga("another")


@pytest.fixture(params=["memory", "path", "http"])
async def remote(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Remote]:
    match request.param:
        case "memory":
            yield FakeRemote()
        case "path":
            yield PathRemote(tmp_path)
        case _:
            async with GitHost(tmp_path, olga()) as host:
                yield HttpRemote(tmp_path, host)


def needs_host(remote: Remote) -> None:
    if not remote.has_host:
        pytest.skip("a path has no host that could be away")


class TestResolve:
    async def test_a_branch_by_its_short_and_its_full_name(self, remote: Remote) -> None:
        sha = remote.commit(FILES, "refs/heads/feature/x")

        assert await remote.sources.resolve(remote.origin, "feature/x") == sha
        assert await remote.sources.resolve(remote.origin, "refs/heads/feature/x") == sha

    async def test_as_it_is_now(self, remote: Remote) -> None:
        before = remote.commit(FILES, "refs/heads/main")
        assert await remote.sources.resolve(remote.origin, "main") == before
        after = remote.commit({"other": "file"}, "refs/heads/main")
        assert await remote.sources.resolve(remote.origin, "main") == after

    async def test_a_tag_by_its_short_and_its_full_name(self, remote: Remote) -> None:
        sha = remote.commit(FILES, "refs/tags/v1")

        assert await remote.sources.resolve(remote.origin, "v1") == sha
        assert await remote.sources.resolve(remote.origin, "refs/tags/v1") == sha

    async def test_the_branch_where_a_tag_has_the_same_name(self, remote: Remote) -> None:
        tag = remote.commit(FILES, "refs/tags/both")
        branch = remote.commit({"other": "file"}, "refs/heads/both")

        assert await remote.sources.resolve(remote.origin, "both") == branch
        assert await remote.sources.resolve(remote.origin, "refs/tags/both") == tag

    async def test_a_full_name_means_nothing_else(self, remote: Remote) -> None:
        remote.commit(FILES, "refs/heads/refs/heads/main", "refs/tags/refs/heads/main", "refs/tags/main")
        with pytest.raises(Fault) as caught:
            await remote.sources.resolve(remote.origin, "refs/heads/main")
        assert caught.value.reason == "ref-missing"

    @pytest.mark.parametrize("kind", ["refs/heads", "refs/tags"])
    async def test_an_id_to_which_a_branch_or_a_tag_points(self, remote: Remote, kind: str) -> None:
        remote.commit({"other": "file"}, "refs/heads/main")
        sha = remote.commit(FILES, f"{kind}/x")

        assert await remote.sources.resolve(remote.origin, sha) == sha

    async def test_an_id_before_the_branch_that_is_called_so(self, remote: Remote) -> None:
        sha = remote.commit(FILES, "refs/heads/main")
        other = remote.commit({"other": "file"}, f"refs/heads/{sha}", f"refs/heads/{MISSING}")

        assert await remote.sources.resolve(remote.origin, sha) == sha
        assert await remote.sources.resolve(remote.origin, MISSING) == other

    @pytest.mark.parametrize("ref", STRANGERS)
    async def test_nothing_of_strangers(self, remote: Remote, ref: str) -> None:
        """What a forge keeps of pull requests lies in the same repository."""
        remote.commit({"other": "file"}, "refs/heads/main")
        sha = remote.commit(FILES, ref)
        short = ref.removeprefix("refs/")
        for name in (ref, short, f"heads/../{short}", f"refs/heads/../{short}", sha[:7], sha[:12]):
            with pytest.raises(Fault) as caught:
                await remote.sources.resolve(remote.origin, name)
            assert caught.value.reason == "ref-missing"
        with pytest.raises(Fault) as caught:
            await remote.sources.resolve(remote.origin, sha)
        assert caught.value.reason == "commit-not-a-tip"

    @pytest.mark.parametrize(
        "name", ["HEAD", "@", "FETCH_HEAD", "main~0", "main^0", "main@{0}", ":/x", "head*"]
    )
    async def test_nothing_that_git_works_out(self, remote: Remote, name: str) -> None:
        remote.commit(FILES, "refs/heads/main")
        with pytest.raises(Fault) as caught:
            await remote.sources.resolve(remote.origin, name)
        assert caught.value.reason == "ref-missing"

    async def test_a_commit_below_the_tip(self, remote: Remote) -> None:
        before = remote.commit(FILES, "refs/heads/main")
        remote.commit({"other": "file"}, "refs/heads/main")
        with pytest.raises(Fault) as caught:
            await remote.sources.resolve(remote.origin, before)
        assert caught.value.reason == "commit-not-a-tip"

    async def test_what_isnt_there(self, remote: Remote) -> None:
        remote.commit(FILES, "refs/heads/main")
        with pytest.raises(Fault) as caught:
            await remote.sources.resolve(remote.origin, "mai")
        assert caught.value.reason == "ref-missing"

    async def test_at_a_host_that_is_away(self, remote: Remote) -> None:
        needs_host(remote)
        await remote.away()
        with pytest.raises(Retry) as caught:
            await remote.sources.resolve(remote.origin, "main")
        assert caught.value.reason == "source-away"

    async def test_with_credentials_that_are_no_good(self, remote: Remote) -> None:
        remote.refuse()
        with pytest.raises(Fault) as caught:
            await remote.sources.resolve(remote.origin, "main")
        assert caught.value.reason == "source-refused"


class TestCheckout:
    async def test_has_exactly_the_commits_files(self, remote: Remote) -> None:
        sha = remote.commit(FILES, "refs/heads/main")
        async with remote.sources.checkout(KEY, remote.origin, sha) as folder:
            found = {str(path.relative_to(folder)) for path in folder.rglob("*")}
            assert found == {"Dockerfile", "site", "site/index.html", "link"}
            assert (folder / "site" / "index.html").read_bytes() == b"<h1>Hi</h1>\n"
            assert (folder / "link").readlink().name == "Dockerfile"

    async def test_is_gone_afterwards(self, remote: Remote) -> None:
        sha = remote.commit(FILES, "refs/heads/main")
        async with remote.sources.checkout(KEY, remote.origin, sha) as folder:
            assert folder.is_dir()
        assert not folder.exists()

    async def test_is_gone_when_cancelled(self, remote: Remote) -> None:
        sha = remote.commit(FILES, "refs/heads/main")
        open_now = asyncio.Event()
        folders = []

        async def build() -> None:
            async with remote.sources.checkout(KEY, remote.origin, sha) as folder:
                folders.append(folder)
                open_now.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(build())
        await open_now.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert not folders[0].exists()

    async def test_several_at_once(self, remote: Remote) -> None:
        shas = [remote.commit({"number": str(n)}, f"refs/heads/b{n}") for n in range(4)]

        async def number(sha: str) -> str:
            async with remote.sources.checkout(KEY, remote.origin, sha) as folder:
                return (folder / "number").read_text()

        assert await asyncio.gather(*(number(sha) for sha in [*shas, *shas])) == [*"0123", *"0123"]

    async def test_of_an_older_commit(self, remote: Remote) -> None:
        old = remote.commit({"number": "1"}, "refs/heads/main")
        remote.commit({"number": "2"}, "refs/heads/main")
        async with remote.sources.checkout(KEY, remote.origin, old) as folder:
            assert (folder / "number").read_text() == "1"

    async def test_of_what_was_had_before_needs_no_host(self, remote: Remote) -> None:
        sha = remote.commit(FILES, "refs/heads/main")
        async with remote.sources.checkout(KEY, remote.origin, sha):
            pass
        await remote.away()
        async with remote.sources.checkout(KEY, remote.origin, sha) as folder:
            assert (folder / "Dockerfile").exists()

    async def test_of_what_isnt_there(self, remote: Remote) -> None:
        remote.commit(FILES, "refs/heads/main")
        with pytest.raises(Fault) as caught:
            async with remote.sources.checkout(KEY, remote.origin, MISSING):
                pytest.fail("there is no such commit")
        assert caught.value.reason == "commit-missing"

    async def test_at_a_host_that_is_away(self, remote: Remote) -> None:
        sha = remote.commit(FILES, "refs/heads/main")
        needs_host(remote)
        await remote.away()
        with pytest.raises(Retry) as caught:
            async with remote.sources.checkout(KEY, remote.origin, sha):
                pytest.fail("there is nobody to have it from")
        assert caught.value.reason == "source-away"

    async def test_with_credentials_that_are_no_good(self, remote: Remote) -> None:
        sha = remote.commit(FILES, "refs/heads/main")
        remote.refuse()
        with pytest.raises(Fault) as caught:
            async with remote.sources.checkout(KEY, remote.origin, sha):
                pytest.fail("we may not have it")
        assert caught.value.reason == "source-refused"


class TestRead:
    async def test_a_file(self, remote: Remote) -> None:
        sha = remote.commit(FILES, "refs/heads/main")
        assert await remote.sources.read(KEY, remote.origin, sha, "site/index.html") == b"<h1>Hi</h1>\n"

    @pytest.mark.parametrize("path", ["stager.yml", "site/../Dockerfile", "/Dockerfile", ""])
    async def test_none(self, remote: Remote, path: str) -> None:
        sha = remote.commit(FILES, "refs/heads/main")
        assert await remote.sources.read(KEY, remote.origin, sha, path) is None

    @pytest.mark.parametrize("path", ["site", "link"])
    async def test_what_is_no_plain_file(self, remote: Remote, path: str) -> None:
        sha = remote.commit(FILES, "refs/heads/main")
        with pytest.raises(Fault) as caught:
            await remote.sources.read(KEY, remote.origin, sha, path)
        assert caught.value.reason == "not-a-plain-file"

    async def test_one_that_is_too_large(self, remote: Remote) -> None:
        sha = remote.commit(
            {"large": b"x" * (1024 * 1024 + 1), "fits": b"x" * 1024 * 1024}, "refs/heads/main"
        )
        fits = await remote.sources.read(KEY, remote.origin, sha, "fits")
        assert len(fits or b"") == 1024 * 1024
        with pytest.raises(Fault) as caught:
            await remote.sources.read(KEY, remote.origin, sha, "large")
        assert caught.value.reason == "source-too-large"

    async def test_of_a_commit_that_isnt_there(self, remote: Remote) -> None:
        remote.commit(FILES, "refs/heads/main")
        with pytest.raises(Fault) as caught:
            await remote.sources.read(KEY, remote.origin, MISSING, "Dockerfile")
        assert caught.value.reason == "commit-missing"


class TestSweep:
    async def test_keeps_only_what_is_listed(self, remote: Remote) -> None:
        sha = remote.commit(FILES, "refs/heads/main")
        for key in ("github:101", "github:102", "github:103"):
            await remote.sources.read(key, remote.origin, sha, "Dockerfile")

        assert await remote.sources.sweep(["github:102"]) == 2
        assert await remote.sources.sweep(["github:102"]) == 0
        await remote.away()
        assert await remote.sources.read("github:102", remote.origin, sha, "Dockerfile")
        with pytest.raises(StagerError):
            await remote.sources.read("github:101", remote.origin, sha, "Dockerfile")


class TestFakeSources:
    """What the one in memory does besides."""

    async def test_every_commit_has_these_files(self) -> None:
        sources = FakeSources({"Dockerfile": "FROM scratch\n"})
        async with sources.checkout(KEY, Origin("https://forge.test/x.git"), MISSING) as folder:
            assert (folder / "Dockerfile").read_text() == "FROM scratch\n"
            assert sources.folders == {folder}
        assert (sources.folders, sources.fetched) == (set(), [(KEY, MISSING)])

    @pytest.mark.parametrize(
        ("mode", "reason"),
        [(SourceFaultMode.LARGE, "source-too-large"), (SourceFaultMode.TOO_SLOW, "source-too-slow")],
    )
    async def test_over_a_limit(self, mode: SourceFaultMode, reason: str) -> None:
        sources = FakeSources({})
        sources.fault_mode = mode
        with pytest.raises(Fault) as caught:
            await sources.read(KEY, Origin("https://forge.test/x.git"), MISSING, "x")
        assert caught.value.reason == reason

    async def test_a_slow_host_answers_in_the_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("stager.testing.fakes.sources.SLOW_SECONDS", 0.01)
        sources = FakeSources({"x": "y"})
        sources.fault_mode = SourceFaultMode.SLOW
        assert await sources.read(KEY, Origin("https://forge.test/x.git"), MISSING, "x") == b"y"

    async def test_one_that_never_answers(self) -> None:
        sources = FakeSources({})
        sources.fault_mode = SourceFaultMode.NEVER
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sources.resolve(Origin("https://forge.test/x.git"), "main"), 0.05)
