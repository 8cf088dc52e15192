"""A repository at emulate's GitHub, with people who work in it."""

from __future__ import annotations

import base64
from typing import Any

import httpx

from tests.forge.doubles import Server
from tests.integration.stager import SECRET

BOT, BOT_TOKEN = "stager-bot", "bot-token"
OWNER, OWNER_TOKEN = "acme", "owner-token"
STRANGER, STRANGER_TOKEN = "stranger", "stranger-token"

SEED: dict[str, Any] = {
    "tokens": {
        token: {"login": login, "scopes": ["repo", "user", "admin:repo_hook"]}
        for login, token in ((BOT, BOT_TOKEN), (OWNER, OWNER_TOKEN), (STRANGER, STRANGER_TOKEN))
    },
    "github": {
        "users": [{"login": login} for login in (BOT, OWNER, STRANGER)],
        "repos": [
            {"owner": OWNER, "name": "shop", "auto_init": True},
            {"owner": OWNER, "name": "secret", "auto_init": True, "private": True},
        ],
    },
}


class Emulated:
    """acme/shop, as its owner sees it."""

    def __init__(self, server: Server) -> None:
        self._client = httpx.Client(base_url=server.url, timeout=30, trust_env=False)
        self._commits = 0

    def end(self) -> None:
        self._client.close()

    def ask(self, method: str, path: str, *, token: str = OWNER_TOKEN, body: object = None) -> httpx.Response:
        """A call of the API, whatever becomes of it."""
        headers = {"authorization": f"Bearer {token}"}
        return self._client.request(method, path, headers=headers, json=body)

    def done(self, method: str, path: str, **body: object) -> Any:
        """A call within acme/shop that must work."""
        answer = self.ask(method, f"/repos/acme/shop{path}", body=body or None)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def add_hook(self, url: str) -> str:
        """Have deliveries sent to this URL; the hook's id."""
        config = {"url": url, "content_type": "json", "secret": SECRET}
        return str(self.done("POST", "/hooks", config=config, events=["pull_request", "issue_comment"])["id"])

    def remove_hook(self, hook: str) -> None:
        self.done("DELETE", f"/hooks/{hook}")

    def open(self, branch: str) -> int:
        """A branch with a commit, and a pull request of it; its number."""
        main = self.done("GET", "/git/ref/heads/main")["object"]["sha"]
        self.done("POST", "/git/refs", ref=f"refs/heads/{branch}", sha=main)
        self.push(branch)
        return int(self.done("POST", "/pulls", title="A change", head=branch, base="main")["number"])

    def push(self, branch: str) -> str:
        """A commit to the branch; its sha."""
        content = base64.b64encode(branch.encode()).decode()
        self._commits += 1
        path = f"/contents/{branch}-{self._commits}.txt"
        commit = self.done("PUT", path, message="A commit", content=content, branch=branch)["commit"]
        return str(commit["sha"])

    def pull(self, number: int) -> Any:
        return self.done("GET", f"/pulls/{number}")

    def close(self, number: int) -> None:
        self.done("PATCH", f"/pulls/{number}", state="closed")

    def reopen(self, number: int) -> None:
        self.done("PATCH", f"/pulls/{number}", state="open")

    def merge(self, number: int) -> None:
        self.done("PUT", f"/pulls/{number}/merge", merge_method="merge")

    def comments(self, number: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.done("GET", f"/issues/{number}/comments")
        return found
