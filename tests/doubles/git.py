"""Real repositories for tests, and a host that serves them over HTTP by git's own program for that."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from aiohttp import web

from stager.git import environment
from stager.testing.fakes.sources import Link
from tests.doubles.serving import LoopbackServer

WHO = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER")
       for what, value in (("NAME", "Olga"), ("EMAIL", "olga@example.org"))}  # fmt: skip


@dataclass(frozen=True)
class Module:
    """A submodule among a commit's files."""

    sha: str


class BareRepository:
    """A bare repository, into which a test commits."""

    def __init__(self, path: Path, *, object_format: str = "sha1") -> None:
        self.path = path
        self.git(
            "init", "--quiet", "--bare", "--initial-branch=main", f"--object-format={object_format}", path
        )

    def git(self, *arguments: str | Path, given: bytes | None = None, **variables: str) -> str:
        """Run git on it. Raises CalledProcessError when it fails."""
        done = subprocess.run(
            ["git", *map(str, arguments)],
            input=given,
            capture_output=True,
            check=True,
            env={**environment(protocols="file"), **WHO, "GIT_DIR": str(self.path), **variables},
        )
        return done.stdout.decode().strip()

    def commit(
        self,
        files: Mapping[str, object],
        *refs: str,
        message: str = "A change",
        by: str = "Olga",
        moves: bool = True,
    ) -> str:
        """A commit with exactly these files, on top of the first ref if that is there. Returns its id.

        Args:
            moves: whether the refs point to it afterwards.
        """
        tree = self._tree({path: self._entry(content) for path, content in files.items()})
        parents = [self.git("for-each-ref", "--format=%(objectname)", ref) for ref in refs[:1]]
        options = [word for parent in parents if parent for word in ("-p", parent)]
        sha = self.git("commit-tree", tree, *options, given=message.encode(), GIT_COMMITTER_NAME=by)
        for ref in refs if moves else ():
            self.git("update-ref", ref, sha)
        return sha

    def _entry(self, content: object) -> tuple[str, str]:
        match content:
            case Module():
                return "160000", content.sha
            case Link():
                return "120000", self.blob(content.target.encode())
            case str():
                return "100644", self.blob(content.encode())
            case bytes():
                return "100644", self.blob(content)
        raise TypeError(content)

    def blob(self, content: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", given=content)

    def _tree(self, entries: Mapping[str, tuple[str, str]]) -> str:
        here = {path: entry for path, entry in entries.items() if "/" not in path}
        below: dict[str, dict[str, tuple[str, str]]] = {}
        for path, entry in entries.items():
            folder, _, rest = path.partition("/")
            if rest:
                below.setdefault(folder, {})[rest] = entry
        here |= {folder: ("040000", self._tree(inside)) for folder, inside in below.items()}
        return self.tree(here)

    def tree(self, entries: Mapping[str, tuple[str, str]]) -> str:
        """A tree with these modes and ids by their names."""
        kinds = {"040000": "tree", "160000": "commit"}
        lines = (f"{mode} {kinds.get(mode, 'blob')} {sha}\t{name}\0" for name, (mode, sha) in entries.items())
        return self.git("mktree", "-z", "--missing", given="".join(lines).encode())


def olga(password: str = "hush") -> str:
    """The value of an `Authorization` header."""
    return "Basic " + base64.b64encode(f"olga:{password}".encode()).decode()


@dataclass
class GitHost:
    """Serves the repositories below a folder to clients with the password.

    Args:
        authorization: what a request must have in that header; empty: nothing.
        speaks_v2: whether it takes part in git's newer protocol, in which every commit can be had by its id.
        status: what it answers instead, once it is set.
        location: where it redirects requests, once it is set.
        body: what it says then.
        pause: seconds before it answers.
        large: contents that LFS keeps, by their SHA-256.
        large_url: where those are fetched from, if not here.
        seen: the authorization of each request.
    """

    folder: Path
    authorization: str = ""
    speaks_v2: bool = True
    status: int = 0
    location: str = ""
    body: str = ""
    pause: float = 0.0
    large: dict[str, bytes] = field(default_factory=dict)
    large_url: str = ""
    seen: list[str] = field(default_factory=list)
    _server: LoopbackServer | None = None

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=1024**3)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._server = LoopbackServer(application)
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """It is gone; connections to it are refused."""
        if self._server:
            await self._server.cleanup()

    @property
    def url(self) -> str:
        assert self._server
        return f"http://127.0.0.1:{self._server.addresses[0][1]}"

    async def _answer(self, request: web.Request) -> web.Response:
        self.seen.append(request.headers.get("Authorization", ""))
        await asyncio.sleep(self.pause)
        if self.status:
            headers = {"Location": self.location} if self.location else {}
            return web.Response(status=self.status, text=self.body, headers=headers)
        if self.authorization and self.seen[-1] != self.authorization:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="git"'})
        if request.path.startswith("/large/"):
            return web.Response(body=self.large[request.path.removeprefix("/large/")])
        if request.path.endswith("/info/lfs/objects/batch"):
            return self._batch(await request.json())
        return await served(request, self.folder, speaks_v2=self.speaks_v2)

    def _batch(self, asked: dict[str, list[dict[str, object]]]) -> web.Response:
        """Where each is had (git-lfs's API, "Batch")."""
        url = f"{self.large_url or self.url}/large"
        objects = [
            {**one, "authenticated": True, "actions": {"download": {"href": f"{url}/{one['oid']}"}}}
            for one in asked["objects"]
        ]
        return web.json_response({"objects": objects}, content_type="application/vnd.git-lfs+json")


async def served(request: web.Request, folder: Path, *, speaks_v2: bool = True) -> web.Response:
    """What git answers, of the repositories below a folder."""
    body = await request.read()
    variables = {
        "PATH": os.environ["PATH"],
        "GIT_PROJECT_ROOT": str(folder),
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", "") if speaks_v2 else "",
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query_string,
        "REQUEST_METHOD": request.method,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
        "REMOTE_USER": "olga",
    }
    process = await asyncio.create_subprocess_exec(
        "git", "http-backend", env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    output, _ = await process.communicate(body)
    head, _, content = output.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
    status = int(headers.pop("Status", "200").split()[0])
    return web.Response(status=status, body=content, headers=headers)
