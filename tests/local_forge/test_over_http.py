"""git over HTTP: the real client against the web application, which has git's own program answer."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
import uvicorn

from stager.auth.basic import BasicAuthentication
from stager.control.identity.authorizer import Roles
from stager.domain.identity.roles import Role
from stager.forges.local.forge import LocalForge
from stager.web.forges import git_http as web_git
from tests.local_forge.workshop import Clone, Ear, listening
from tests.unit.control.harness import Harness
from tests.unit.web.harness import app_of

PASSWORD = "p:ss/w@rd"


class Served(uvicorn.Server):
    @property
    def port(self) -> int:
        port: int = self.servers[0].sockets[0].getsockname()[1]
        return port


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return tmp_path / "my shop.git"


@pytest.fixture
async def ear(bare: Path) -> AsyncIterator[Ear]:
    forge = LocalForge({"shop": bare})
    with listening(Ear(forge)) as ear:
        await forge.open(ear.url)
        yield ear


@pytest.fixture
async def server(bare: Path, ear: Ear) -> AsyncIterator[Served]:
    harness = Harness(
        credentials=False,
        domain="preview.test",
        webhooks=ear.forge,
        authentication=[BasicAuthentication({"ann": PASSWORD, "bob": PASSWORD})],
        roles=Roles({"basic:bob": Role.VIEWER}),
    )
    await harness.start(rest=False)
    configuration = uvicorn.Config(
        app_of(harness, repositories={"shop": bare}), port=0, log_level="warning", lifespan="off"
    )
    server = Served(configuration)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server
    server.should_exit = True
    await task
    await harness.kill()


@pytest.fixture
async def clone(tmp_path: Path, server: Served) -> Clone:
    return Clone(tmp_path / "clone", f"http://ann:p%3Ass%2Fw%40rd@127.0.0.1:{server.port}/git/shop.git")


async def push(clone: Clone, *what: str) -> list[str]:
    return await asyncio.to_thread(clone.push, *what)


class TestPush:
    async def test_runs_the_hook(self, clone: Clone, ear: Ear) -> None:
        clone.branch("x")
        assert await push(clone, "main", "x") == ["opened it, http://feature.localhost:8000"]
        assert [event.change.head_ref for event in ear.heard] == ["x"]

    async def test_of_much_comes_in_pieces(self, clone: Clone, ear: Ear, tmp_path: Path) -> None:
        content = os.urandom(6_000_000)
        (clone.folder / "large").write_bytes(content)
        clone.git("add", "large")
        clone.git("commit", "--quiet", "--message=Much")
        await push(clone, "main")
        url = clone.git("remote", "get-url", "stager").stdout.strip()
        await asyncio.to_thread(clone.git, "clone", "--quiet", url, str(tmp_path / "again"))
        assert (tmp_path / "again" / "large").read_bytes() == content

    async def test_of_too_much_is_refused(
        self, clone: Clone, bare: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(web_git, "MAX_PUSH", 3_000_000)
        (clone.folder / "large").write_bytes(os.urandom(6_000_000))
        clone.git("add", "large")
        clone.git("commit", "--quiet", "--message=Much")
        with pytest.raises(subprocess.CalledProcessError) as caught:
            await push(clone, "main")
        assert "413" in caught.value.stderr
        assert list((bare / "refs" / "heads").iterdir()) == []

    async def test_with_a_wrong_password_is_refused(self, clone: Clone, server: Served, bare: Path) -> None:
        clone.git("remote", "set-url", "stager", f"http://ann:wrong@127.0.0.1:{server.port}/git/shop.git")
        with pytest.raises(subprocess.CalledProcessError) as caught:
            await push(clone, "main")
        assert "Authentication failed" in caught.value.stderr or "could not read" in caught.value.stderr
        assert list((bare / "refs" / "heads").iterdir()) == []

    async def test_takes_what_a_launch_takes(self, clone: Clone, server: Served, bare: Path) -> None:
        """Bob may see previews, and so may fetch."""
        url = f"http://bob:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}/git/shop.git"
        clone.git("remote", "set-url", "stager", url)
        with pytest.raises(subprocess.CalledProcessError) as caught:
            await push(clone, "main")
        assert "403" in caught.value.stderr
        assert list((bare / "refs" / "heads").iterdir()) == []
        await asyncio.to_thread(clone.git, "fetch", "--quiet", "stager")


class TestAnswer:
    @pytest.fixture
    async def client(self, server: Served) -> AsyncIterator[httpx.AsyncClient]:
        url = f"http://127.0.0.1:{server.port}"
        async with httpx.AsyncClient(base_url=url, auth=("ann", PASSWORD)) as client:
            yield client

    @pytest.mark.parametrize(
        "path",
        ["/git/blog.git/info/refs", "/git/shop.git/HEAD", "/git/shop.git", "/git/shop.git/stager/secret",
         "/git/../shop.git/info/refs", "/git/shop.git/objects/info/packs", "/git/shop.git/x/info/refs"],
    )  # fmt: skip
    async def test_to_anything_else_says_what_there_is(self, client: httpx.AsyncClient, path: str) -> None:
        answer = await client.get(path)
        assert answer.status_code == 404
        if "/../" not in path:
            assert answer.text.endswith("The repositories are: /git/shop.git.")

    async def test_to_unknown_users(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/git/shop.git/info/refs?service=git-upload-pack", auth=("ann", "wrong"))
        assert (answer.status_code, answer.headers["www-authenticate"][:5]) == (401, "Basic")

    async def test_isnt_kept_by_anybody(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/git/shop/info/refs?service=git-upload-pack")
        assert (answer.status_code, answer.headers["cache-control"]) == (
            200,
            "no-cache, max-age=0, must-revalidate",
        )

    async def test_to_nonsense(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/git/shop.git/git-receive-pack", content=b"nonsense")
        assert answer.status_code in (400, 415)

    async def test_to_a_client_that_disconnects_leaves_no_process(
        self, client: httpx.AsyncClient, bare: Path
    ) -> None:
        async def endless() -> AsyncIterator[bytes]:
            yield b"fff0"  # the length of what follows, in hex digits: git waits for it
            while True:
                yield b"x"
                await asyncio.sleep(0.05)

        def at_work() -> list[Path]:
            return [p for p in Path("/proc").glob("[0-9]*/environ") if str(bare).encode() in _read(p)]

        headers = {"content-type": "application/x-git-receive-pack-request"}
        task = asyncio.create_task(
            client.post("/git/shop.git/git-receive-pack", content=endless(), headers=headers)
        )
        while not at_work():
            await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait([task])
        async with asyncio.timeout(20):
            while at_work():
                await asyncio.sleep(0.05)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
