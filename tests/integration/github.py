"""The GitHub double of `tests.doubles`, in a thread of its own, for tests that aren't asynchronous."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.doubles.github import GithubDouble, GithubPull, Recorded
from tests.doubles.github_app import GithubApp
from tests.doubles.github_routes import GithubDeployment

USER, TOKEN = "bot", "T0ken-of-the-bot-41c"


class Github:
    """One repository, acme/shop, at a GitHub of our own."""

    def __init__(self, double: GithubDouble) -> None:
        self._double = double
        self._repository = double.add_repository("acme", "shop")
        self._pulls: dict[int, GithubPull] = {}
        self._failures: list[Any] = []

    @property
    def settings(self) -> dict[str, Any]:
        """What goes under `github:` in the configuration."""
        return {
            "api_url": self._double.api_url,
            "web_url": self._double.web_url,
            "incoming_auth": {"hook_secret": "hook-secret"},
            "outgoing_auth": {"user": USER, "password": TOKEN},
        }

    @property
    def requests(self) -> list[Recorded]:
        """All that it was asked so far."""
        return self._double.requests

    def open(self, ref: str, sha: str = "", *, fork_of: str = "") -> int:
        """A pull request's number.

        Args:
            fork_of: who has the repository that it comes from, if that is a fork.
        """
        fork = self._double.add_repository(fork_of, "shop") if fork_of else None
        pull = self._double.open_pull(self._repository, ref, sha=sha, fork=fork)
        self._pulls[pull.number] = pull
        return pull.number

    def push(self, number: int, sha: str = "") -> str:
        """A new head; the one before."""
        pull = self._pulls[number]
        return self._double.push(pull, sha or f"{int(pull.sha[:8], 16) + 1:08x}" + pull.sha[8:])

    def serve(self, folder: Path) -> None:
        """Have git find the repositories below a folder, by `OWNER/NAME.git`."""
        self._double.git = folder

    def let_push(self, login: str) -> None:
        self._repository.state.people[login] = ("write", "write")

    def say(self, number: int, text: str, author: str) -> dict[str, Any]:
        """A user comments; the delivery of it."""
        comment = self._double.add_comment(self._pulls[number], text, author)
        return self._double.comment_event("created", self._pulls[number], comment)

    def close(self, number: int) -> None:
        self._double.close(self._pulls[number])

    def reopen(self, number: int) -> None:
        self._double.reopen(self._pulls[number])

    def sha(self, number: int) -> str:
        return self._pulls[number].sha

    def comments(self, number: int) -> list[str]:
        return [comment.body for comment in self._pulls[number].comments]

    def commenters(self, number: int) -> list[str | None]:
        return [comment.author for comment in self._pulls[number].comments]

    def deployments(self) -> list[GithubDeployment]:
        """Oldest first."""
        return list(self._repository.state.deployments)

    def statuses(self, sha: str) -> list[dict[str, Any]]:
        """The statuses of a commit, oldest first."""
        return list(self._repository.state.statuses.get(sha, []))

    @property
    def app(self) -> GithubApp:
        return self._double.app

    def event(self, action: str, number: int, before: str = "") -> dict[str, Any]:
        return self._double.event(action, self._pulls[number], before=before)

    def fail(self, method: str, path: str, **how: Any) -> None:
        self._failures.append(self._double.fail(method, path, **how))

    def stop_failing(self) -> None:
        """Answer well from now on."""
        for failure in self._failures:
            failure.times = 0

    def failures_left(self) -> int:
        return sum(failure.times for failure in self._failures)


@contextmanager
def running_github() -> Iterator[Github]:
    """A GitHub that answers for as long as the block lasts."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    double = GithubDouble(USER, TOKEN, "stager-bot")
    try:
        asyncio.run_coroutine_threadsafe(double.__aenter__(), loop).result(10)
        yield Github(double)
        asyncio.run_coroutine_threadsafe(double.__aexit__(None, None, None), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
