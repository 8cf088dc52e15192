"""A GitHub of our own on 127.0.0.1: the few REST endpoints that Stager asks, with state and with failures.

It keeps repositories, pull requests and comments (and, in `github_routes`, people, checks, deployments and
statuses), answers in pages with ETags as GitHub does, demands the credentials of an account or of an App (see
`github_app`), records every request, and misbehaves where a test asks for it.

    async with GithubDouble() as github:
        repository = github.add_repository("acme", "shop")
        pull = github.open_pull(repository, "feature/x")
        github.fail("GET", "/pulls$", status=503)
        headers, body = signed("pull_request", github.event("opened", pull), "secret")
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote_plus

from aiohttp import web

from stager.domain.pull_requests.events import Delivery
from stager.forges.github.webhooks.events import GithubWebhooks
from tests.doubles.git import served
from tests.doubles.github_app import GithubApp
from tests.doubles.github_routes import RepositoryRoutes, RepositoryState
from tests.doubles.serving import LoopbackServer

CUT = 499
"""What nginx logs for a connection that ended without an answer."""

Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class GithubRepository:
    """A repository. While it isn't `visible`, everything in it is 404, as for a token without access."""

    id: int
    owner: str
    name: str
    visible: bool = True
    state: RepositoryState = field(default_factory=RepositoryState)


@dataclass
class GithubComment:
    id: int
    author: str | None
    body: str
    reactions: list[str] = field(default_factory=list)


@dataclass
class GithubPull:
    """A pull request, with its conversation.

    Args:
        head: the repository of its code; None when that fork was deleted.
        author: None when the account was deleted.
    """

    base: GithubRepository
    number: int
    ref: str
    sha: str
    head: GithubRepository | None
    title: str
    author: str | None
    updated_at: datetime
    base_ref: str = "main"
    state: str = "open"
    merged: bool = False
    comments: list[GithubComment] = field(default_factory=list)
    body: str | None = None
    labels: list[str] = field(default_factory=list)
    draft: bool = False
    files: list[Json] = field(default_factory=list)


@dataclass(frozen=True)
class Recorded:
    """A request as it came in, with the status that answered it; `CUT` for a dropped connection.

    Args:
        headers: with lower-case names.
        at: when it was answered, by `time.monotonic`.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: str
    status: int
    at: float = field(default_factory=time.monotonic, compare=False)


@dataclass
class Failure:
    """How the next `times` matching requests are answered.

    Args:
        path: a regular expression, searched in the path.
        query: what the query must have, such as `{"page": "2"}`.
        status: of the response, with `headers` and `body`; 0: the real response.
        drop: the connection is closed without a response.
        truncate: the response ends in the middle.
        after: the request takes effect before it fails.
        delay: seconds before the response.
    """

    method: str
    path: str
    times: int = 1
    query: Mapping[str, str] = field(default_factory=dict)
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = '{"message": "Failure."}'
    drop: bool = False
    truncate: bool = False
    after: bool = False
    delay: float = 0.0

    def matches(self, request: web.Request) -> bool:
        is_same = self.method == request.method and re.search(self.path, request.path) is not None
        return self.times > 0 and is_same and self.query.items() <= request.query.items()


class GithubDouble:
    """The server. `api_url` and `web_url` are what Stager is configured with.

    Args:
        user, password: the Basic credentials that every request must have; none when both are empty.
        login: whose credentials those are, so who writes comments.

    Attributes:
        app: an App that may ask besides; whether that is of use depends on where it is installed.
        git: a folder with the bare repositories that are to be had by git, as `OWNER/NAME.git`.
    """

    def __init__(self, user: str = "stager-bot", password: str = "token", login: str = "stager-bot") -> None:
        self.login = login
        self.requests: list[Recorded] = []
        self.git: Path | None = None
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.api_url = ""
        self.web_url = "https://github.test"  # until it is started
        self._authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self._open = not (user or password)
        self._ids = iter(range(1001, 10**9))
        self.app = GithubApp(self.web_url)
        self._repositories: list[GithubRepository] = []
        self._pulls: list[GithubPull] = []
        self._failures: list[Failure] = []
        self._server = LoopbackServer(self._application())

    async def __aenter__(self) -> Self:
        self.web_url = await self._server.start()
        self.api_url = f"{self.web_url}/api/v3"
        self.app.web_url = self.web_url
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.cleanup()

    # What happens at GitHub.

    def add_repository(self, owner: str, name: str) -> GithubRepository:
        repository = GithubRepository(next(self._ids), owner, name)
        self._repositories.append(repository)
        return repository

    def open_pull(
        self,
        base: GithubRepository,
        ref: str,
        *,
        sha: str = "",
        fork: GithubRepository | None = None,
        title: str = "A change",
        author: str | None = "octocat",
    ) -> GithubPull:
        number = 1 + sum(pull.base is base for pull in self._pulls)
        pull = GithubPull(base, number, ref, sha or _sha(ref), fork or base, title, author, self._tick())
        self._pulls.append(pull)
        base.state.shas.add(pull.sha)
        return pull

    def push(self, pull: GithubPull, sha: str) -> str:
        """Give it a new head; returns the one before."""
        before, pull.sha, pull.updated_at = pull.sha, sha, self._tick()
        pull.base.state.shas.add(sha)
        return before

    def close(self, pull: GithubPull, *, merged: bool = False) -> None:
        pull.state, pull.merged, pull.updated_at = "closed", merged, self._tick()

    def reopen(self, pull: GithubPull) -> None:
        pull.state, pull.updated_at = "open", self._tick()

    def edit(
        self, pull: GithubPull, *, labels: Sequence[str] = (), draft: bool = False, body: str = ""
    ) -> None:
        pull.labels, pull.draft, pull.body, pull.updated_at = list(labels), draft, body, self._tick()

    def add_comment(self, pull: GithubPull, body: str, author: str | None = "octocat") -> GithubComment:
        comment = GithubComment(self.next_id(), author, body)
        pull.comments.append(comment)
        return comment

    def fail(self, method: str, path: str, **how: Any) -> Failure:
        """Make the next matching requests fail; see `Failure`."""
        failure = Failure(method, path, **how)
        self._failures.append(failure)
        return failure

    def event(self, action: str, pull: GithubPull, *, before: str = "") -> Json:
        """The payload of a `pull_request` delivery about the pull request as it is now."""
        payload: Json = {
            "action": action,
            "number": pull.number,
            "pull_request": _pull_json(pull, self.web_url) | {"merged": pull.merged},
            "repository": _repository_json(pull.base, self.web_url),
            "sender": _account_json(pull.author),
        }
        return payload | ({"before": before, "after": pull.sha} if before else {})

    def comment_event(self, action: str, pull: GithubPull, comment: GithubComment) -> Json:
        """The payload of an `issue_comment` delivery. Of the pull request, it has what an issue has."""
        url = f"{self.api_url}/repos/{pull.base.owner}/{pull.base.name}/pulls/{pull.number}"
        return {
            "action": action,
            "issue": {"number": pull.number, "title": pull.title, "pull_request": {"url": url}},
            "comment": _comment_json(comment),
            "repository": _repository_json(pull.base, self.web_url),
            "sender": _account_json(comment.author),
        }

    def requested(self, method: str, path: str = "") -> list[Recorded]:
        """The requests of this method whose path contains `path`."""
        return [r for r in self.requests if r.method == method and path in r.path]

    def _tick(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    # How it is asked.

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self._record, self._misbehave, self._authenticate])
        prefix = "/api/v3/repos/{owner}/{repo}"
        app.router.add_get("/api/v3/user", self._get_user)
        app.router.add_get(prefix, self._get_repository)
        app.router.add_get(prefix + "/pulls", self._list_pulls)
        app.router.add_get(prefix + "/pulls/{number}", self._get_pull)
        app.router.add_get(prefix + "/issues/{number}/comments", self._list_comments)
        app.router.add_post(prefix + "/issues/{number}/comments", self._create_comment)
        app.router.add_patch(prefix + "/issues/comments/{comment}", self._edit_comment)
        app.router.add_delete(prefix + "/issues/comments/{comment}", self._delete_comment)
        RepositoryRoutes(self).add_to(app.router, prefix)
        self.app.add_to(app.router, prefix)
        app.router.add_route("*", "/{owner}/{repo}.git/{rest:.*}", self._git)
        return app

    @web.middleware
    async def _record(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        body, status = (await request.read()).decode(errors="replace"), 0
        try:
            response = await handler(request)
            status = response.status
        except web.HTTPException as error:
            status = error.status
            response = _json_response({"message": error.reason}, status)
        finally:
            headers = {name.lower(): value for name, value in request.headers.items()}
            self.requests.append(
                Recorded(request.method, request.path, dict(request.query), headers, body, status)
            )
        return response

    @web.middleware
    async def _misbehave(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        failure = next((f for f in self._failures if f.matches(request)), None)
        if failure is None:
            return await handler(request)
        failure.times -= 1
        await asyncio.sleep(failure.delay)
        answer = (
            await handler(request)
            if failure.after or not (failure.status or failure.drop)
            else web.Response()
        )
        if failure.drop:
            return _cut(request)
        if failure.truncate:  # in the middle of a 304 is before its end
            return _cut(request) if answer.status == 304 else await _send_half(request, answer)
        if failure.status:
            headers = {"content-type": "application/json; charset=utf-8"} | dict(failure.headers)
            return web.Response(status=failure.status, body=failure.body.encode(), headers=headers)
        return answer

    @web.middleware
    async def _authenticate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._is_ours(request) and not self._is_public(request) and not self.app.knows(request):
            raise web.HTTPUnauthorized(reason="Bad credentials")
        return await handler(request)

    def _is_ours(self, request: web.Request) -> bool:
        return self._open or request.headers.get("authorization") == self._authorization

    def _is_public(self, request: web.Request) -> bool:
        return request.path.startswith("/api/v3/app-manifests/")

    async def _git(self, request: web.Request) -> web.Response:
        self.repository(request)
        return await served(request, self.git) if self.git else _not_found()

    async def _get_user(self, _: web.Request) -> web.Response:
        return _json_response(_account_json(self.login))

    async def _get_repository(self, request: web.Request) -> web.Response:
        return _json_response(_repository_json(self.repository(request), self.web_url))

    async def _list_pulls(self, request: web.Request) -> web.Response:
        repository = self.repository(request)
        state = request.query.get("state", "open")
        pulls = [p for p in self._pulls if p.base is repository and state in {p.state, "all"}]
        if request.query.get("direction") != "asc":
            pulls.reverse()
        return self.page(request, [_pull_json(pull, self.web_url) for pull in pulls])

    async def _get_pull(self, request: web.Request) -> web.Response:
        pull = self.pull(request)
        return _json_response(_pull_json(pull, self.web_url) | {"merged": pull.merged})

    async def _list_comments(self, request: web.Request) -> web.Response:
        return self.page(request, [_comment_json(comment) for comment in self.pull(request).comments])

    async def _create_comment(self, request: web.Request) -> web.Response:
        author = self.login if self._is_ours(request) else f"{self.app.slug}[bot]"
        comment = self.add_comment(self.pull(request), (await request.json())["body"], author)
        return _json_response(_comment_json(comment), 201)

    async def _edit_comment(self, request: web.Request) -> web.Response:
        _, comment = self.comment(request)
        comment.body = (await request.json())["body"]
        return _json_response(_comment_json(comment))

    async def _delete_comment(self, request: web.Request) -> web.Response:
        pull, comment = self.comment(request)
        pull.comments.remove(comment)
        return web.Response(status=204)

    def repository(self, request: web.Request) -> GithubRepository:
        asked = request.match_info["owner"], request.match_info["repo"]
        found = (r for r in self._repositories if (r.owner, r.name) == asked and r.visible)
        return next(found, None) or _not_found()

    def pull(self, request: web.Request) -> GithubPull:
        repository, number = self.repository(request), request.match_info["number"]
        found = (p for p in self._pulls if p.base is repository and str(p.number) == number)
        return next(found, None) or _not_found()

    def comment(self, request: web.Request) -> tuple[GithubPull, GithubComment]:
        repository, wanted = self.repository(request), request.match_info["comment"]
        pulls = (pull for pull in self._pulls if pull.base is repository)
        found = ((p, c) for p in pulls for c in p.comments if str(c.id) == wanted)
        return next(found, None) or _not_found()

    def page(self, request: web.Request, items: list[Json], within: str = "") -> web.Response:
        size, page = int(request.query.get("per_page", 30)), int(request.query.get("page", 1))
        shown = items[(page - 1) * size : page * size]
        body: Json | list[Json] = {"total_count": len(items), within: shown} if within else shown
        etag = f'W/"{hashlib.sha256(json.dumps(body).encode()).hexdigest()}"'
        headers = {"etag": etag}
        if len(items) > page * size:
            following = f"{self.web_url}{request.path}?per_page={size}&page={page + 1}"
            headers["link"] = f'<{following}>; rel="next"'
        if request.headers.get("if-none-match") == etag:
            return web.Response(status=304, headers=headers)
        return web.json_response(body, headers=headers)

    def next_id(self) -> int:
        return next(self._ids)


def signed(
    event: str, payload: Json, secret: str, *, delivery_id: str = "", form: bool = False
) -> tuple[dict[str, str], bytes]:
    """Headers, with lower-case names, and body of a delivery as GitHub sends it."""
    text = json.dumps(payload)
    body = f"payload={quote_plus(text)}".encode() if form else text.encode()
    headers = {
        "content-type": "application/x-www-form-urlencoded" if form else "application/json",
        "user-agent": "GitHub-Hookshot/044aadd",
        "x-github-delivery": delivery_id or str(uuid.uuid4()),
        "x-github-event": event,
        "x-hub-signature": "sha1=" + hmac.new(secret.encode(), body, "sha1").hexdigest(),
        "x-hub-signature-256": "sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest(),
    }
    return headers, body


def received(webhooks: GithubWebhooks, headers: Mapping[str, str], body: bytes) -> Delivery:
    """The one delivery that GitHub sends at a time."""
    [delivery] = asyncio.run(webhooks.receive(headers, body))
    return delivery


def _sha(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _not_found() -> Any:
    raise web.HTTPNotFound(reason="Not Found")


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=CUT)


async def _send_half(request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
    assert isinstance(answer, web.Response)
    assert isinstance(answer.body, bytes)
    half = web.StreamResponse(status=answer.status, headers=answer.headers)
    half.content_length = len(answer.body)
    await half.prepare(request)
    await half.write(answer.body[: len(answer.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return half


def _json_response(data: Json | None, status: int = 200) -> web.Response:
    return web.json_response(data, status=status)


def _account_json(login: str | None) -> Json | None:
    return (
        None
        if login is None
        else {
            "login": login,
            "id": len(login),
            "type": "Bot" if login.endswith("[bot]") else "User",
        }
    )


def _repository_json(repository: GithubRepository, web_url: str) -> Json:
    full_name = f"{repository.owner}/{repository.name}"
    return {
        "id": repository.id,
        "name": repository.name,
        "full_name": full_name,
        "private": True,
        "owner": _account_json(repository.owner),
        "html_url": f"{web_url}/{full_name}",
        "clone_url": f"{web_url}/{full_name}.git",
        "fork": False,
    }


def _pull_json(pull: GithubPull, web_url: str) -> Json:
    """As in lists, which say only `merged_at`."""
    stamp = f"{pull.updated_at:%Y-%m-%dT%H:%M:%SZ}"
    return {
        "id": 10**6 + pull.number,
        "number": pull.number,
        "state": pull.state,
        "title": pull.title,
        "user": _account_json(pull.author),
        "body": pull.body,
        "html_url": f"{web_url}/{pull.base.owner}/{pull.base.name}/pull/{pull.number}",
        "updated_at": stamp,
        "merged_at": stamp if pull.merged else None,
        "draft": pull.draft,
        "labels": [{"id": number, "name": name} for number, name in enumerate(pull.labels)],
        "head": {
            "ref": pull.ref,
            "sha": pull.sha,
            "repo": _repository_json(pull.head, web_url) if pull.head else None,
        },
        "base": {"ref": pull.base_ref, "repo": _repository_json(pull.base, web_url)},
    }


def _comment_json(comment: GithubComment) -> Json:
    return {
        "id": comment.id,
        "user": _account_json(comment.author),
        "body": comment.body,
        "created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
