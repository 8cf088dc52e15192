"""What commits by git promise besides the contract: secrets, hostile repositories, limits, healing."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import stat
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stager.domain.errors import Fault, Retry, StagerError
from stager.ports.source import Origin
from stager.sources import GitSources, Limits
from stager.sources.limits import bounded
from stager.testing.fakes.sources import Link
from tests.doubles.git import BareRepository, GitHost, Module, olga

KEY = "github:101"
TOKEN = "ghs-Vq8tZx3mK1w"


@pytest.fixture
def shop(tmp_path: Path) -> BareRepository:
    return BareRepository(tmp_path / "host" / "shop.git")


@pytest.fixture
async def host(shop: BareRepository) -> AsyncIterator[GitHost]:
    async with GitHost(shop.path.parent, olga(TOKEN)) as host:
        yield host


@pytest.fixture
def sources(tmp_path: Path) -> GitSources:
    return GitSources(tmp_path / "sources")


def by_path(repository: BareRepository) -> Origin:
    return Origin(str(repository.path))


def by_http(host: GitHost, *refs: str) -> Origin:
    return Origin(f"{host.url}/shop.git", refs, host.authorization)


async def files_of(sources: GitSources, origin: Origin, sha: str) -> dict[str, str]:
    async with sources.checkout(KEY, origin, sha) as folder:
        return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


async def ending(sources: GitSources, origin: Origin, sha: str) -> StagerError:
    with pytest.raises(StagerError) as caught:
        await files_of(sources, origin, sha)
    return caught.value


def holders(folder: Path, *secrets: bytes) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if any(secret in path.read_bytes() for secret in secrets)]


def command_lines() -> list[bytes]:
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(process.read_bytes())
        except OSError:
            continue
    return found


class TestCredentials:
    SECRETS = (TOKEN.encode(), olga(TOKEN).encode(), olga(TOKEN).split()[1].encode())

    async def test_are_nowhere_to_be_found(
        self, sources: GitSources, shop: BareRepository, host: GitHost, tmp_path: Path
    ) -> None:
        sha = shop.commit({"x": "y"}, "refs/heads/main")
        host.pause = 0.3
        task = asyncio.create_task(files_of(sources, by_http(host), sha))
        seen: list[bytes] = []
        while not task.done():
            seen += command_lines()
            await asyncio.sleep(0.01)

        assert await task == {"x": "y"}
        assert olga(TOKEN) in host.seen
        ours = [line for line in seen if host.url.encode() in line]
        assert any(b"remote-http" in line for line in ours)
        assert not [line for line in seen if any(secret in line for secret in self.SECRETS)]
        assert not holders(tmp_path, *self.SECRETS)

    @pytest.mark.parametrize("status", [400, 403, 404, 500])
    async def test_that_a_host_says_back_arent_repeated(
        self, sources: GitSources, host: GitHost, status: int
    ) -> None:
        host.status, host.body = status, f"Bad: {host.authorization} and {TOKEN}"
        error = await ending(sources, by_http(host), "a" * 40)

        assert "Bad" in error.detail
        told = f"{error} {error.detail} {error!r} {by_http(host)!r}".encode()
        assert not any(secret in told for secret in self.SECRETS)

    async def test_arent_taken_to_another_address(
        self, sources: GitSources, shop: BareRepository, host: GitHost
    ) -> None:
        sha = shop.commit({"x": "y"}, "refs/heads/main")
        async with GitHost(shop.path.parent) as other:
            host.status, host.location = 302, f"{other.url}/shop.git/info/refs?service=git-upload-pack"
            error = await ending(sources, by_http(host), sha)

        assert (error.reason, other.seen) == ("source-refused", [])
        assert "another address" in error.message

    async def test_arent_requested_by_git(
        self, sources: GitSources, shop: BareRepository, host: GitHost
    ) -> None:
        sha = shop.commit({"x": "y"}, "refs/heads/main")
        error = await ending(sources, Origin(f"{host.url}/shop.git"), sha)
        assert (error.reason, error.kind) == ("source-refused", "fault")
        assert "without credentials" in error.message


class TestEnvironment:
    async def test_this_machines_configuration_has_no_say(
        self, sources: GitSources, shop: BareRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sha = shop.commit({"x": "y"}, "refs/heads/main")
        (tmp_path / ".gitconfig").write_text(f'[url "/nowhere/"]\n\tinsteadOf = {shop.path.parent}/\n')
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / ".gitconfig"))
        monkeypatch.setenv("GIT_DIR", "/nowhere")
        monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))

        assert await files_of(sources, by_path(shop), sha) == {"x": "y"}
        assert not (tmp_path / "trace").exists()

    async def test_no_hook_runs(
        self, sources: GitSources, shop: BareRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hooks = tmp_path / "template" / "hooks"
        hooks.mkdir(parents=True)
        for name in ("reference-transaction", "post-checkout", "post-index-change"):
            (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
            (hooks / name).chmod(0o755)
        monkeypatch.setenv("GIT_TEMPLATE_DIR", str(hooks.parent))
        await files_of(sources, by_path(shop), shop.commit({"x": "y"}, "refs/heads/main"))
        assert not (tmp_path / "ran").exists()

    async def test_without_git(
        self, sources: GitSources, shop: BareRepository, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sha = shop.commit({"x": "y"}, "refs/heads/main")
        monkeypatch.setenv("PATH", "/nowhere")
        error = await ending(sources, by_path(shop), sha)
        assert (error.reason, "apt-get install git" in error.hint) == ("git-missing", True)


class TestHostileRepository:
    @pytest.mark.parametrize(
        "url", ["ext::sh -c touch% {}/ran", "--upload-pack=touch {}/ran", "ssh://-oProxyCommand=touch/x"]
    )
    async def test_whose_url_is_a_command(self, sources: GitSources, tmp_path: Path, url: str) -> None:
        origin = Origin(url.format(tmp_path))
        error = await ending(sources, origin, "a" * 40)
        with pytest.raises(StagerError):
            await sources.resolve(origin, "main")

        assert error.kind == "fault"
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize("ref", ["--upload-pack=touch ran", "-h", "a b", "a*", "", "a..b", "\0"])
    async def test_whose_ref_is_no_name(self, sources: GitSources, shop: BareRepository, ref: str) -> None:
        shop.commit({"x": "y"}, "refs/heads/ab", "refs/heads/main")
        with pytest.raises(Fault) as caught:
            await sources.resolve(by_path(shop), ref)
        assert caught.value.reason == "ref-missing"

    @pytest.mark.parametrize("sha", ["--help", "main", "A" * 40, "a" * 39, "", "a" * 40 + "\n"])
    async def test_whose_commit_is_no_id(self, sources: GitSources, shop: BareRepository, sha: str) -> None:
        shop.commit({"x": "y"}, "refs/heads/main")
        assert (await ending(sources, by_path(shop), sha)).reason == "commit-missing"

    @pytest.mark.parametrize("name", [".git", "..", ".", ".GIT"])
    async def test_whose_paths_lead_out(
        self, sources: GitSources, shop: BareRepository, tmp_path: Path, name: str
    ) -> None:
        inner = shop.tree({"config": ("100644", shop.blob(b"[core]\nfsmonitor = touch ran\n"))})
        sha = shop.git("commit-tree", shop.tree({name: ("040000", inner)}), given=b"x")
        shop.git("update-ref", "refs/heads/main", sha)
        error = await ending(sources, by_path(shop), sha)

        assert (error.reason, error.kind) == ("source-failed", "fault")
        assert "invalid path" in error.detail
        assert list((tmp_path / "sources" / "trees").iterdir()) == []

    async def test_whose_link_is_a_folder_as_well(
        self, sources: GitSources, shop: BareRepository, tmp_path: Path
    ) -> None:
        inner = shop.tree({"planted": ("100644", shop.blob(b"x"))})
        link = shop.blob(str(tmp_path).encode())
        raw = b"".join(
            mode + b" a\0" + bytes.fromhex(sha) for mode, sha in ((b"120000", link), (b"40000", inner))
        )
        tree = shop.git("hash-object", "-w", "-t", "tree", "--literally", "--stdin", given=raw)
        sha = shop.git("commit-tree", tree, given=b"x")
        shop.git("update-ref", "refs/heads/main", sha)
        with contextlib.suppress(Fault):
            await files_of(sources, by_path(shop), sha)
        assert not (tmp_path / "planted").exists()

    async def test_may_be_read_by_other_users_of_the_image(
        self, sources: GitSources, shop: BareRepository
    ) -> None:
        """Whatever our own umask is: what is checked out becomes an image."""
        sha = shop.commit({"a/file": "x"}, "refs/heads/main")
        before = os.umask(0o077)
        try:
            async with sources.checkout(KEY, by_path(shop), sha) as folder:
                modes = [stat.S_IMODE(p.stat().st_mode) for p in (folder, folder / "a", folder / "a/file")]
        finally:
            os.umask(before)

        assert modes == [0o755, 0o755, 0o644]

    async def test_whose_links_lead_out_arent_followed(
        self, sources: GitSources, shop: BareRepository
    ) -> None:
        sha = shop.commit({"passwd": Link("/etc/passwd"), "etc": Link("/etc")}, "refs/heads/main")
        with pytest.raises(Fault) as caught:
            await sources.read(KEY, by_path(shop), sha, "passwd")
        assert caught.value.reason == "not-a-plain-file"
        for path in ("etc/passwd", "../../etc/passwd"):
            assert await sources.read(KEY, by_path(shop), sha, path) is None
        async with sources.checkout(KEY, by_path(shop), sha) as folder:
            assert (folder / "etc").is_symlink()
        assert Path("/etc/passwd").exists()


class TestSubmodules:
    @pytest.fixture
    def parts(self, shop: BareRepository) -> BareRepository:
        return BareRepository(shop.path.with_name("parts.git"))

    def with_module(self, shop: BareRepository, url: str, sha: str) -> str:
        text = f'[submodule "p"]\n\tpath = lib/parts\n\turl = {url}\n\tupdate = !touch ran\n'
        return shop.commit({".gitmodules": text, "lib/parts": Module(sha), "x": "y"}, "refs/heads/main")

    async def test_are_fetched_with_the_same_credentials(
        self, sources: GitSources, shop: BareRepository, parts: BareRepository, host: GitHost
    ) -> None:
        deep = BareRepository(shop.path.with_name("deep.git"))
        deepest = deep.commit({"bottom": "2"}, "refs/heads/main")
        text = '[submodule "d"]\n\tpath = deep\n\turl = ./../deep.git\n'
        inner = parts.commit({"part": "1", ".gitmodules": text, "deep": Module(deepest)}, "refs/heads/main")
        sha = self.with_module(shop, "../parts.git", inner)
        found = await files_of(sources, by_http(host), sha)

        assert found.keys() >= {"x", "lib/parts/part", "lib/parts/deep/bottom"}
        assert set(host.seen) <= {"", olga(TOKEN)}

    async def test_that_a_stranger_names_are_fetched_without(
        self, sources: GitSources, shop: BareRepository, parts: BareRepository, host: GitHost
    ) -> None:
        """Also once they were fetched for another pull request."""
        sha = self.with_module(shop, "../parts.git", parts.commit({"part": "1"}, "refs/heads/main"))
        assert "lib/parts/part" in await files_of(sources, by_http(host), sha)
        error = await ending(sources, replace(by_http(host), untrusted=True), sha)
        assert error.reason == "source-refused"

        host.authorization = ""
        stranger = replace(by_http(host), untrusted=True)
        assert "lib/parts/part" in await files_of(sources, stranger, sha)

    @pytest.mark.parametrize(
        "form", ["{}/parts.git", "git@127.0.0.1:parts.git", "ssh://git@127.0.0.1/parts.git"]
    )
    async def test_on_the_same_host(
        self, sources: GitSources, shop: BareRepository, parts: BareRepository, host: GitHost, form: str
    ) -> None:
        sha = self.with_module(shop, form.format(host.url), parts.commit({"part": "1"}, "refs/heads/main"))
        assert (await files_of(sources, by_http(host), sha))["lib/parts/part"] == "1"

    async def test_on_another_host_are_refused(
        self, sources: GitSources, shop: BareRepository, parts: BareRepository, host: GitHost
    ) -> None:
        inner = parts.commit({"part": "1"}, "refs/heads/main")
        async with GitHost(shop.path.parent) as other:
            sha = self.with_module(shop, f"{other.url}/parts.git", inner)
            error = await ending(sources, by_http(host), sha)
            assert other.seen == []
        assert (error.reason, "lib/parts" in error.message) == ("submodule-refused", True)

    @pytest.mark.parametrize(
        "url",
        ["ext::sh -c touch% {}/ran", "file://{}/host/parts.git", "{}/host/parts.git", "--upload-pack=x",
         "https://olga:pass@127.0.0.1/parts.git", "git@another.example:parts.git", "git://127.0.0.1/parts.git"],
    )  # fmt: skip
    async def test_by_other_ways_are_refused(
        self,
        sources: GitSources,
        shop: BareRepository,
        parts: BareRepository,
        host: GitHost,
        tmp_path: Path,
        url: str,
    ) -> None:
        inner = parts.commit({"part": "1"}, "refs/heads/main")
        sha = self.with_module(shop, url.format(tmp_path), inner)
        assert (await ending(sources, by_http(host), sha)).reason == "submodule-refused"
        assert not (tmp_path / "ran").exists()

    async def test_beside_a_repository_of_this_machine(
        self, sources: GitSources, shop: BareRepository, parts: BareRepository
    ) -> None:
        sha = self.with_module(shop, "../parts.git", parts.commit({"part": "1"}, "refs/heads/main"))
        assert (await files_of(sources, by_path(shop), sha))["lib/parts/part"] == "1"

    @pytest.mark.parametrize(
        "url", ["../../host/../secret.git", "{}/host/../secret.git", "https://h.test/x.git"]
    )
    async def test_elsewhere_on_this_machine_are_refused(
        self, sources: GitSources, shop: BareRepository, tmp_path: Path, url: str
    ) -> None:
        secret = BareRepository(tmp_path / "secret.git").commit({"secret": "1"}, "refs/heads/main")
        sha = self.with_module(shop, url.format(tmp_path), secret)
        error = await ending(sources, by_path(shop), sha)
        assert error.reason == "submodule-refused"
        assert "builds.submodules" in error.hint
        assert "https" not in error.hint, "a local forge has no host"

    async def test_without_a_url_are_refused(self, sources: GitSources, shop: BareRepository) -> None:
        sha = shop.commit({"lib": Module("a" * 40)}, "refs/heads/main")
        assert (await ending(sources, by_path(shop), sha)).reason == "submodule-refused"

    async def test_that_are_their_own_end_somewhere(self, sources: GitSources, shop: BareRepository) -> None:
        text = '[submodule "p"]\n\tpath = again\n\turl = ../shop.git\n'
        sha = shop.commit({"x": "y"}, "refs/heads/main")
        for _ in range(8):
            sha = shop.commit({".gitmodules": text, "again": Module(sha)}, "refs/heads/main")
        error = await ending(sources, by_path(shop), sha)
        assert (error.reason, "levels deep" in error.message) == ("submodule-refused", True)

    async def test_count_towards_the_limit(
        self, tmp_path: Path, shop: BareRepository, parts: BareRepository
    ) -> None:
        sha = self.with_module(
            shop, "../parts.git", parts.commit({"zeros": b"\0" * 3_000_000}, "refs/heads/main")
        )
        sources = GitSources(tmp_path / "sources", Limits(bytes=2_000_000))
        assert (await ending(sources, by_path(shop), sha)).reason == "source-too-large"

    async def test_stay_empty_if_they_are_off(self, tmp_path: Path, shop: BareRepository) -> None:
        sha = self.with_module(shop, "../parts.git", "a" * 40)
        sources = GitSources(tmp_path / "sources", Limits(submodules=False))
        async with sources.checkout(KEY, by_path(shop), sha) as folder:
            assert list((folder / "lib" / "parts").iterdir()) == []


class TestLargeFileStorage:
    POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12\n"
    ATTRIBUTES = "*.bin filter=lfs diff=lfs merge=lfs -text\n"

    async def test_that_isnt_installed(
        self, sources: GitSources, shop: BareRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = {"assets/.gitattributes": self.ATTRIBUTES, "assets/a.bin": self.POINTER}
        sha = shop.commit(files, "refs/heads/main")
        (tmp_path / "git").symlink_to(shutil.which("git") or "")
        monkeypatch.setenv("PATH", str(tmp_path))
        error = await ending(sources, by_path(shop), sha)
        assert (error.reason, error.kind) == ("lfs-missing", "fault")
        assert "apt-get install git-lfs" in error.hint

    @pytest.mark.skipif(not shutil.which("git-lfs"), reason="git-lfs isn't installed")
    async def test_is_fetched_with_the_credentials_for_its_host_alone(
        self, sources: GitSources, shop: BareRepository, host: GitHost, tmp_path: Path
    ) -> None:
        content = b"large\n" * 2000
        oid = hashlib.sha256(content).hexdigest()
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"
        files = {".gitattributes": self.ATTRIBUTES, "assets/a b.bin": pointer, "x": "y",
                 ".lfsconfig": "[lfs]\n\turl = http://127.0.0.1:9/\n"}  # fmt: skip
        sha = shop.commit(files, "refs/heads/main")
        async with GitHost(tmp_path, large={oid: content}) as other:
            host.large_url = other.url
            found = await files_of(sources, by_http(host), sha)
            assert other.seen == [""]
        assert found == {**files, "assets/a b.bin": content.decode()}
        assert not holders(tmp_path, TOKEN.encode(), olga(TOKEN).split()[1].encode())

    @pytest.mark.skipif(not shutil.which("git-lfs"), reason="git-lfs isn't installed")
    async def test_counts_towards_the_limit(
        self, shop: BareRepository, host: GitHost, tmp_path: Path
    ) -> None:
        pointer = self.POINTER.replace("size 12", "size 120000000")
        sha = shop.commit({".gitattributes": self.ATTRIBUTES, "a.bin": pointer}, "refs/heads/main")
        sources = GitSources(tmp_path / "sources", Limits(bytes=100_000_000))
        assert (await ending(sources, by_http(host), sha)).reason == "source-too-large"

    async def test_that_has_nothing(self, sources: GitSources, shop: BareRepository) -> None:
        files = {".gitattributes": self.ATTRIBUTES, "a.bin": "no pointer", "pointer": self.POINTER}
        sha = shop.commit(files, "refs/heads/main")
        assert await files_of(sources, by_path(shop), sha) == files

    async def test_that_is_off(self, shop: BareRepository, tmp_path: Path) -> None:
        files = {".gitattributes": self.ATTRIBUTES, "a.bin": self.POINTER}
        sha = shop.commit(files, "refs/heads/main")
        sources = GitSources(tmp_path / "sources", Limits(lfs=False))
        assert await files_of(sources, by_path(shop), sha) == files


class TestLimits:
    async def test_of_size_hold_before_anything_is_written(
        self, shop: BareRepository, tmp_path: Path
    ) -> None:
        sha = shop.commit({"zeros": b"\0" * 8_000_000}, "refs/heads/main")
        sources = GitSources(tmp_path / "sources", Limits(bytes=4_000_000))
        error = await ending(sources, by_path(shop), sha)
        assert (error.reason, "3.8147 MB" in error.message) == ("source-too-large", True)

    async def test_of_size_count_files(self, shop: BareRepository, tmp_path: Path) -> None:
        folder = shop.tree({f"f{n}": ("100644", shop.blob(b"")) for n in range(100)})
        for _ in range(4):  # 100 ** 5 files, and hardly anything to fetch
            folder = shop.tree({f"d{n}": ("040000", folder) for n in range(100)})
        sha = shop.git("commit-tree", folder, given=b"bomb")
        shop.git("update-ref", "refs/heads/main", sha)
        sources = GitSources(tmp_path / "sources", Limits(bytes=40_000_000))
        assert (await ending(sources, by_path(shop), sha)).reason == "source-too-large"

    async def test_of_size_end_what_grows(self, tmp_path: Path) -> None:
        async def grow() -> None:
            async with bounded(tmp_path, Limits(bytes=10_000, seconds=60), "It"):
                for number in range(10_000):
                    (tmp_path / f"{number}").write_bytes(b"x" * 1000)
                    await asyncio.sleep(0.01)

        with pytest.raises(Fault) as caught:
            await grow()
        assert caught.value.reason == "source-too-large"

    async def test_of_time(self, shop: BareRepository, host: GitHost, tmp_path: Path) -> None:
        sha = shop.commit({"x": "y"}, "refs/heads/main")
        host.pause = 5
        sources = GitSources(tmp_path / "sources", Limits(seconds=0.5))
        assert (await ending(sources, by_http(host), sha)).reason == "source-too-slow"
        with pytest.raises(Fault) as caught:
            await sources.resolve(by_http(host), "main")
        assert caught.value.reason == "source-too-slow"
        assert not [line for line in command_lines() if host.url.encode() in line]


class TestHost:
    @pytest.mark.parametrize(
        ("status", "kind", "reason"),
        [
            (401, "fault", "source-refused"),
            (403, "fault", "source-refused"),
            (404, "fault", "repository-missing"),
            (429, "retry", "source-away"),
            (500, "retry", "source-away"),
            (503, "retry", "source-away"),
        ],
    )
    async def test_that_says_no(
        self, sources: GitSources, host: GitHost, status: int, kind: str, reason: str
    ) -> None:
        host.status = status
        error = await ending(sources, by_http(host), "a" * 40)
        assert (error.kind, error.reason) == (kind, reason)

    async def test_that_isnt_there(self, sources: GitSources) -> None:
        error = await ending(sources, Origin("https://nowhere.invalid/shop.git"), "a" * 40)
        assert (error.kind, error.reason) == ("retry", "source-away")

    async def test_without_such_a_repository(self, sources: GitSources, tmp_path: Path) -> None:
        error = await ending(sources, Origin(str(tmp_path / "none.git")), "a" * 40)
        assert (error.kind, error.reason) == ("fault", "repository-missing")

    async def test_that_hands_out_refs_only(
        self, sources: GitSources, shop: BareRepository, host: GitHost
    ) -> None:
        host.speaks_v2 = False
        wanted = shop.commit({"x": "1"}, "refs/pull/7/head")
        shop.commit({"x": "2"}, "refs/pull/7/head")

        assert (await ending(sources, by_http(host), wanted)).reason == "commit-missing"
        origin = by_http(host, "refs/pull/8/head", "refs/pull/7/head")
        assert await files_of(sources, origin, wanted) == {"x": "1"}
        assert (await ending(sources, origin, "a" * 40)).reason == "commit-missing"

    async def test_with_a_forced_push(self, sources: GitSources, shop: BareRepository, host: GitHost) -> None:
        old = shop.commit({"x": "1"}, "refs/heads/main")
        shop.git("update-ref", "-d", "refs/heads/main")
        new = shop.commit({"x": "2"}, "refs/heads/main")
        assert await files_of(sources, by_http(host), new) == {"x": "2"}
        shop.git("reflog", "expire", "--expire=now", "--all")
        shop.git("gc", "--quiet", "--prune=now")
        assert (await ending(sources, by_http(host), old)).reason == "commit-missing"

    async def test_an_annotated_tag_is_its_commit(self, sources: GitSources, shop: BareRepository) -> None:
        sha = shop.commit({"x": "y"}, "refs/heads/main")
        shop.git("tag", "--annotate", "--message=One", "v1", sha)
        assert await sources.resolve(by_path(shop), "v1") == sha
        assert await sources.resolve(by_path(shop), sha) == sha
        shop.commit({"x": "z"}, "refs/heads/main")
        assert await sources.resolve(by_path(shop), sha) == sha, "the tag's commit, not the tag"

    async def test_with_longer_ids(self, sources: GitSources, tmp_path: Path) -> None:
        shop = BareRepository(tmp_path / "shop.git", object_format="sha256")
        sha = shop.commit({"x": "y"}, "refs/heads/main")
        assert len(sha) == 64
        assert await sources.resolve(by_path(shop), "main") == sha
        assert await files_of(sources, by_path(shop), sha) == {"x": "y"}


class TestMirror:
    async def test_what_is_there_waits_for_nothing_that_is_fetched(
        self, sources: GitSources, shop: BareRepository, host: GitHost
    ) -> None:
        here = shop.commit({"x": "1"}, "refs/heads/main")
        assert await files_of(sources, by_http(host), here) == {"x": "1"}
        slow = shop.commit({"x": "2"}, "refs/heads/main")
        host.pause = 5
        fetch = asyncio.create_task(files_of(sources, by_http(host), slow))
        while not [line for line in command_lines() if b"remote-http" in line and host.url.encode() in line]:
            await asyncio.sleep(0.01)
        async with asyncio.timeout(30):
            assert await files_of(sources, by_http(host), here) == {"x": "1"}
        fetch.cancel()
        await asyncio.wait([fetch])
        assert fetch.cancelled()

    async def test_after_a_cancelled_fetch(
        self, sources: GitSources, shop: BareRepository, host: GitHost
    ) -> None:
        sha = shop.commit({"x": "y"}, "refs/heads/main")
        host.pause = 5
        task = asyncio.create_task(files_of(sources, by_http(host), sha))
        while not [line for line in command_lines() if b"remote-http" in line and host.url.encode() in line]:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert not [line for line in command_lines() if host.url.encode() in line]

        host.pause = 0
        assert await files_of(sources, by_http(host), sha) == {"x": "y"}

    @pytest.mark.parametrize(
        "damage",
        [
            lambda mirror: (mirror / "shallow.lock").touch(),
            lambda mirror: (mirror / "HEAD").write_text("garbage"),
            lambda mirror: (mirror / "config").write_text("[garbage"),
            lambda mirror: shutil.rmtree(mirror / "objects"),
            lambda mirror: shutil.rmtree(mirror / "objects" / "pack"),
            lambda mirror: (mirror / "HEAD").unlink(),
        ],
    )
    async def test_that_is_damaged_is_made_again(
        self, sources: GitSources, shop: BareRepository, tmp_path: Path, damage: Callable[[Path], None]
    ) -> None:
        await files_of(sources, by_path(shop), shop.commit({"x": "1"}, "refs/heads/main"))
        [mirror] = (tmp_path / "sources" / "mirrors").glob("*/own.git")
        damage(mirror)
        assert await files_of(sources, by_path(shop), shop.commit({"x": "2"}, "refs/heads/main")) == {
            "x": "2"
        }

    async def test_is_readable_by_its_owner_only(
        self, sources: GitSources, shop: BareRepository, tmp_path: Path
    ) -> None:
        await files_of(sources, by_path(shop), shop.commit({"x": "1"}, "refs/heads/main"))
        assert (tmp_path / "sources").stat().st_mode & 0o077 == 0


class TestSweep:
    async def test_leaves_alone_what_is_in_use(
        self, sources: GitSources, shop: BareRepository, host: GitHost
    ) -> None:
        sha = shop.commit({"x": "y"}, "refs/heads/main")
        async with sources.checkout(KEY, by_path(shop), sha) as folder:
            await sources.sweep([KEY])
            assert (folder / "x").exists()
        host.pause = 0.2
        task = asyncio.create_task(files_of(sources, by_http(host), sha))
        while not task.done():
            await sources.sweep([])
            await asyncio.sleep(0.01)
        assert await task == {"x": "y"}

    async def test_removes_what_a_killed_process_left(
        self, sources: GitSources, shop: BareRepository, tmp_path: Path
    ) -> None:
        await files_of(sources, by_path(shop), shop.commit({"x": "y"}, "refs/heads/main"))
        (tmp_path / "sources" / "trees" / "left" / "tree").mkdir(parents=True)
        (tmp_path / "sources" / "mirrors" / "left.gone").mkdir()
        assert await sources.sweep([KEY]) == 2
        assert list((tmp_path / "sources" / "trees").iterdir()) == []
        assert len(list((tmp_path / "sources" / "mirrors").iterdir())) == 1

    async def test_of_nothing(self, sources: GitSources) -> None:
        assert await sources.sweep([]) == 0


async def test_a_host_that_doesnt_answer_is_retried(
    sources: GitSources, shop: BareRepository, host: GitHost
) -> None:
    sha = shop.commit({"x": "y"}, "refs/heads/main")
    host.status = 503
    with pytest.raises(Retry):
        await files_of(sources, by_http(host), sha)
    host.status = 0
    assert await files_of(sources, by_http(host), sha) == {"x": "y"}


def test_tests_run_where_processes_can_be_seen() -> None:
    assert os.fsencode("pytest") in b"".join(command_lines())
