"""The parts of the GitHub of our own that are about people, checks, deployments, statuses and reactions.

As strict as GitHub's documentation says it is, where a mistake of ours would show.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import web

Json = dict[str, Any]

DEPLOYMENT_STATES = {"error", "failure", "inactive", "in_progress", "queued", "pending", "success"}
COMMIT_STATES = {"error", "failure", "pending", "success"}
REACTIONS = {"+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"}
LONGEST_DESCRIPTION = 140


@dataclass
class GithubDeployment:
    id: int
    sha: str
    environment: str
    asked: Json
    statuses: list[Json] = field(default_factory=list)

    @property
    def state(self) -> str:
        return str(self.statuses[-1]["state"]) if self.statuses else "pending"


@dataclass
class RepositoryState:
    """What a repository has besides pull requests.

    Args:
        people: what GitHub says of a login's `permission` and `role_name`.
        shas: the commits that there are.
        statuses, check_runs: of commits, oldest first.
    """

    people: dict[str, tuple[str, str]] = field(default_factory=dict)
    shas: set[str] = field(default_factory=set)
    deployments: list[GithubDeployment] = field(default_factory=list)
    statuses: dict[str, list[Json]] = field(default_factory=dict)
    check_runs: dict[str, list[Json]] = field(default_factory=dict)


class Double(Protocol):
    """What these routes need of the whole."""

    def next_id(self) -> int: ...
    def repository(self, request: web.Request) -> Any: ...
    def pull(self, request: web.Request) -> Any: ...
    def comment(self, request: web.Request) -> tuple[Any, Any]: ...
    def page(self, request: web.Request, items: list[Json], within: str = "") -> web.Response: ...


class RepositoryRoutes:
    """The routes."""

    def __init__(self, double: Double) -> None:
        self._double = double

    def add_to(self, router: web.UrlDispatcher, prefix: str) -> None:
        router.add_get(prefix + "/collaborators/{login}/permission", self._permission)
        router.add_get(prefix + "/pulls/{number}/files", self._files)
        router.add_get(prefix + "/commits/{sha}/status", self._combined_status)
        router.add_get(prefix + "/commits/{sha}/check-runs", self._check_runs)
        router.add_get(prefix + "/deployments", self._list_deployments)
        router.add_post(prefix + "/deployments", self._create_deployment)
        router.add_post(prefix + "/deployments/{deployment}/statuses", self._create_deployment_status)
        router.add_post(prefix + "/statuses/{sha}", self._create_status)
        router.add_post(prefix + "/issues/comments/{comment}/reactions", self._react)

    async def _permission(self, request: web.Request) -> web.Response:
        state, login = self._state(request), request.match_info["login"]
        if login.lower() not in state.people:
            raise web.HTTPNotFound(reason="Not Found")
        permission, role = state.people[login.lower()]
        user = {"login": login, "id": len(login), "type": "User"}
        return web.json_response({"permission": permission, "role_name": role, "user": user})

    async def _files(self, request: web.Request) -> web.Response:
        files = self._double.pull(request).files
        return self._double.page(request, [{"status": "modified", **file} for file in files])

    async def _combined_status(self, request: web.Request) -> web.Response:
        sha = request.match_info["sha"]
        newest = {status["context"]: status for status in self._state(request).statuses.get(sha, [])}
        return self._double.page(request, list(newest.values()), "statuses")

    async def _check_runs(self, request: web.Request) -> web.Response:
        runs = self._state(request).check_runs.get(request.match_info["sha"], [])
        return self._double.page(request, runs, "check_runs")

    async def _list_deployments(self, request: web.Request) -> web.Response:
        wanted = request.query.get("environment")
        found = [d for d in self._state(request).deployments if wanted in {None, d.environment}]
        return self._double.page(request, [_deployment_json(d) for d in reversed(found)])

    async def _create_deployment(self, request: web.Request) -> web.Response:
        state, asked = self._state(request), await request.json()
        _must(asked["ref"] in state.shas, f"No ref found for: {asked['ref']}")
        _must(len(asked.get("description", "")) <= LONGEST_DESCRIPTION, "description is too long")
        if asked.get("auto_merge", True) or asked.get("required_contexts") != []:
            raise web.HTTPConflict(reason="Conflict: Commit status checks failed")
        environment = asked.get("environment", "production")
        deployment = GithubDeployment(self._double.next_id(), asked["ref"], environment, asked)
        state.deployments.append(deployment)
        return web.json_response(_deployment_json(deployment), status=201)

    async def _create_deployment_status(self, request: web.Request) -> web.Response:
        deployments, wanted = self._state(request).deployments, request.match_info["deployment"]
        deployment = next((d for d in deployments if str(d.id) == wanted), None)
        if deployment is None:
            raise web.HTTPNotFound(reason="Not Found")
        status = await request.json()
        _must(status["state"] in DEPLOYMENT_STATES, "state is not included in the list")
        _must(len(status.get("description", "")) <= LONGEST_DESCRIPTION, "description is too long")
        for name in ("environment_url", "log_url"):
            _must(status.get(name, "http://").startswith("http"), f"{name} must use http(s) scheme")
        deployment.statuses.append(status)
        return web.json_response({"id": self._double.next_id(), **status}, status=201)

    async def _create_status(self, request: web.Request) -> web.Response:
        state, sha, status = self._state(request), request.match_info["sha"], await request.json()
        _must(sha in state.shas, f"No commit found for SHA: {sha}")
        _must(status["state"] in COMMIT_STATES, "state is not included in the list")
        _must(len(status.get("description", "")) <= LONGEST_DESCRIPTION, "description is too long")
        state.statuses.setdefault(sha, []).append({"context": "default", **status})
        return web.json_response({"id": self._double.next_id(), **status}, status=201)

    async def _react(self, request: web.Request) -> web.Response:
        _, comment = self._double.comment(request)
        content = (await request.json())["content"]
        _must(content in REACTIONS, "content is not included in the list")
        is_new = content not in comment.reactions
        if is_new:
            comment.reactions.append(content)
        answer = {"id": self._double.next_id(), "content": content}
        return web.json_response(answer, status=201 if is_new else 200)

    def _state(self, request: web.Request) -> RepositoryState:
        state = self._double.repository(request).state
        assert isinstance(state, RepositoryState)
        return state


def _must(holds: bool, message: str) -> None:
    if not holds:
        raise web.HTTPUnprocessableEntity(reason=f"Validation Failed: {message}")


def _deployment_json(deployment: GithubDeployment) -> Json:
    return {
        "id": deployment.id,
        "sha": deployment.sha,
        "ref": deployment.sha,
        "task": "deploy",
        "environment": deployment.environment,
    }
