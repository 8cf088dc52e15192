"""A real Stager on real Docker with a GitHub to ask, and everything that may happen to them."""

from __future__ import annotations

import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.integration.github import Github
from tests.integration.nginx import NginxUnderTest
from tests.integration.stager import PASSWORD, USER, StagerUnderTest, until
from tests.machine.expected import Expected, Held

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds in which everything must come to rest."""
STILL = 3.0
"""Seconds for which it must then stay so: more than a pass and a resync."""
STOPS_ALLOWED = 3
"""How often one revision is stopped from outside; after five in a row it rightly counts as broken."""
NAMES = ("by-hand", "another")


@dataclass
class Pull:
    """A pull request, with the deliveries that tell of it."""

    number: int
    ref: str
    is_open: bool = True
    deliveries: list[dict[str, Any]] = field(default_factory=list)


class Simulation:
    """Things happen here by the dice, the same for the same seed.

    Args:
        nginx: what stands before the Stager, with a vhost file for each preview.

    Attributes:
        history: what has happened, to understand a failure.
    """

    def __init__(self, stager: StagerUnderTest, github: Github, nginx: NginxUnderTest, seed: int) -> None:
        self.history: list[str] = []
        self._stager = stager
        self._github = github
        self._nginx = nginx
        self._dice = random.Random(seed)
        self._expected = Expected()
        self._pulls: list[Pull] = []
        self._version = 0
        self._stops: Counter[str] = Counter()

    def step(self) -> None:
        """Something happens."""
        happenings = self._happenings()
        [happening] = self._dice.choices(list(happenings), weights=list(happenings.values()))
        self.history.append(happening.__name__.strip("_"))
        happening()
        time.sleep(self._dice.choice([0, 0, 0.1, 0.5]))

    def rest(self) -> None:
        """Nothing happens any more; then everything must be as it should, and stay so."""
        self.history.append("rest")
        self._github.stop_failing()
        deadline = time.monotonic() + PATIENCE
        while self._wrong():
            assert time.monotonic() < deadline, self._wrong()
            time.sleep(0.2)
        containers = sorted(self._stager.containers())
        time.sleep(STILL)
        assert not self._wrong(), self._wrong()
        assert sorted(self._stager.containers()) == containers, "something was restarted"
        self._settle()

    def _wrong(self) -> str:
        """What isn't as it should be; empty when all is."""
        return "; ".join(f"{what}: {which}" for what, which in self._looked_at().items() if which)

    def _looked_at(self) -> dict[str, Sequence[Any]]:
        """Everything that must be right, each with what isn't."""
        running = {slug: text for slug in self._slugs() if (text := self._shown(slug))}
        containers, networks = self._stager.containers(), self._stager.networks()
        log = self._stager.log.read_text().splitlines()
        return {
            "pull requests": [p for p in self._pulls if self._shown(p.ref) not in self._heads(p)],
            "names": [n for n in NAMES if self._shown(n) not in self._expected.versions(n)],
            "containers": containers if len(containers) != len(running) else [],
            "networks": networks if len(networks) != len(running) else [],
            "vhost files": self._nginx.files()
            if self._nginx.files() != sorted(["default", *running])
            else [],
            "behind nginx": [slug for slug in running if not self._is_behind_nginx(slug)],
            "unsettled": [e for e in self._stager.api() if e["state"] not in ("live", "stopped")],
            "temporary files": [f for p in ("*.new", "*.tmp") for f in self._stager.state.rglob(p)],
            "comments": [p for p in self._pulls if len(self._github.comments(p.number)) > 1],
            "bugs": [line for line in log if '"level": "error"' in line],
        }

    def _is_behind_nginx(self, slug: str) -> bool:
        try:
            answer = self._nginx.get(self._stager.host(slug))
        except httpx.TransportError:
            return False
        return answer.text == self._stager.get(slug).text

    def _slugs(self) -> list[str]:
        return [*NAMES, *(pull.ref for pull in self._pulls)]

    def _shown(self, slug: str) -> str | None:
        """What a preview shows of itself: the head or the version that runs; None when nothing does."""
        answer = self._stager.get(slug)
        return answer.text.partition(" ")[2] if answer.status_code == 200 else None

    def _heads(self, pull: Pull) -> set[str | None]:
        return self._expected.heads(pull.number, self._github.sha(pull.number) if pull.is_open else None)

    def _settle(self) -> None:
        """What was in doubt is known now."""
        for name in NAMES:
            self._expected.runs(name, self._shown(name))
        for pull in self._pulls:
            stopped = pull.is_open and self._shown(pull.ref) is None
            self._expected.hold(pull.number, Held.YES if stopped else Held.NO)

    def _happenings(self) -> dict[Callable[[], None], int]:
        return {
            self._open: 4,
            self._push: 5,
            self._close: 3,
            self._reopen: 3,
            self._deliver_once_more: 3,
            self._launch: 3,
            self._launch_a_pull_request: 1,
            self._kill: 2,
            self._kill_a_pull_request: 1,
            self._remove_a_container: 3,
            self._stop_a_container: 2,
            self._control_plane_dies: 3,
            self._front_dies: 2,
            self._both_die: 1,
            self._nginx_dies: 1,
            self._database_is_lost: 1,
            self._forge_fails: 2,
            self._forge_answers_partly: 2,
            self._answer_is_lost: 1,
        }

    # What happens at the forge, told or not, at once or later.

    def _open(self) -> None:
        if len([pull for pull in self._pulls if pull.is_open]) >= 3:
            return
        ref = f"branch-{len(self._pulls) + 1}"
        pull = Pull(self._github.open(ref), ref)
        self._pulls.append(pull)
        self._happened(pull, "opened")

    def _push(self) -> None:
        pull = self._one(self._pulls, lambda pull: pull.is_open)
        if pull:
            before = self._github.push(pull.number)
            self._expected.hold(pull.number, Held.NO)
            self._happened(pull, "synchronize", before)

    def _close(self) -> None:
        pull = self._one(self._pulls, lambda pull: pull.is_open)
        if pull:
            self._github.close(pull.number)
            pull.is_open = False
            self._happened(pull, "closed")

    def _reopen(self) -> None:
        pull = self._one(self._pulls, lambda pull: not pull.is_open)
        if pull:
            self._github.reopen(pull.number)
            pull.is_open = True
            self._happened(pull, "reopened")

    def _happened(self, pull: Pull, action: str, before: str = "") -> None:
        pull.deliveries.append(self._github.event(action, pull.number, before))
        self._doubt(pull)
        if self._dice.random() < 0.6:
            self._deliver(pull, pull.deliveries[-1])

    def _deliver_once_more(self) -> None:
        """A late one, or a repetition, with an id of its own."""
        pull = self._one(self._pulls)
        if pull:
            self._doubt(pull)
            self._deliver(pull, self._dice.choice(pull.deliveries))

    def _deliver(self, pull: Pull, payload: dict[str, Any]) -> None:
        self.history.append(f"  told: {payload['action']} of {pull.ref}")
        assert self._stager.deliver(payload).status_code == 202

    def _doubt(self, pull: Pull) -> None:
        """What was stopped manually may come back by this."""
        if self._expected.held(pull.number) is Held.YES:
            self._expected.hold(pull.number, Held.MAYBE)

    # What people do. They don't wait.

    def _launch(self) -> None:
        name = self._dice.choice(NAMES)
        self._version += 1
        assert self._stager.launch(name, VERSION=str(self._version), wait="0").status_code == 202
        self._expected.runs(name, str(self._version))

    def _kill(self) -> None:
        name = self._dice.choice(NAMES)
        assert self._stager.kill(name).status_code in (200, 404, 503)  # the last while Docker is away
        self._expected.runs(name, None)

    def _launch_a_pull_request(self) -> None:
        pull, environment = self._known_pull()
        if pull and self._ask("POST", f"/environments/{environment}/redeploy"):
            self._expected.hold(pull.number, Held.NO)

    def _kill_a_pull_request(self) -> None:
        """What Stager doesn't know of yet may bring it back."""
        pull, environment = self._known_pull()
        if pull and self._ask("DELETE", f"/environments/{environment}"):
            self._expected.hold(pull.number, Held.MAYBE)

    def _ask(self, method: str, path: str) -> bool:
        """Whether it was done. What was open a moment ago may be closed for Stager by now: 409."""
        url = f"{self._stager.url}/api/v1{path}"
        answer = self._stager._client.request(method, url, auth=(USER, PASSWORD))
        assert answer.status_code in (202, 409), answer.text
        return answer.status_code == 202

    def _known_pull(self) -> tuple[Pull | None, str]:
        """A pull request that is open, and its environment."""
        known = {environment["name"]: environment["id"] for environment in self._stager.api()}
        pull = self._one(self._pulls, lambda pull: pull.is_open and pull.ref in known)
        return pull, known[pull.ref] if pull else ""

    # What goes wrong.

    def _remove_a_container(self) -> None:
        container = self._one(self._stager.containers())
        if container:
            subprocess.run(
                ["docker", "rm", "--force", "--volumes", container], capture_output=True, check=False
            )

    def _stop_a_container(self) -> None:
        """One that serves: what ends before it has answered rightly counts as broken."""
        serving = [e["id"] for e in self._stager.api() if e["state"] == "live"]
        found = self._one(serving)
        containers = self._stager.containers(f"label=stager.environment={found}") if found else []
        if len(containers) == 1 and self._stops[containers[0]] < STOPS_ALLOWED:
            self._stops[containers[0]] += 1
            stop = ["docker", "stop", "--time", "0", containers[0]]
            subprocess.run(stop, capture_output=True, check=False)

    def _control_plane_dies(self) -> None:
        self._stager.restart()

    def _front_dies(self) -> None:
        front = self._stager.front_pid
        self._stager.kill_front()
        until(lambda: self._stager.front_pid not in (0, front) and self._is_served(), "another front serves")

    def _is_served(self) -> bool:
        try:
            return self._stager.get("nobody").status_code == 404
        except httpx.TransportError:
            return False

    def _both_die(self) -> None:
        self._stager.kill9()
        self._stager.kill_front()
        self._stager.start()

    def _nginx_dies(self) -> None:
        self._nginx.kill9()
        self._nginx.start()

    def _database_is_lost(self) -> None:
        """What runs is what is known then, and what the forge says."""
        self._stager.kill9()
        time.sleep(2)  # What the engine was asked for it does all the same.
        for file in Path(self._stager.state).glob("stager.db*"):
            file.unlink()
        for name in NAMES:
            self._expected.runs(name, *(self._versions_there(name) or (None,)))
        for pull in self._pulls:
            self._expected.hold(pull.number, Held.NO)
        self._stager.start()

    def _versions_there(self, name: str) -> list[str]:
        found = [self._stager.inspect(c) for c in self._stager.containers(f"label=stager.name={name}")]
        variables = [dict(v.split("=", 1) for v in one["Config"]["Env"]) for one in found]
        return [one["VERSION"] for one in variables]

    def _forge_fails(self) -> None:
        method = self._dice.choice(["GET", "GET", "POST", "PATCH"])
        self._github.fail(method, "", status=self._dice.choice([500, 502, 503]), times=4)

    def _forge_answers_partly(self) -> None:
        how: dict[str, Any] = self._dice.choice([{"truncate": True}, {"status": 200, "body": "[]"}])
        self._github.fail("GET", "/pulls$", times=2, **how)

    def _answer_is_lost(self) -> None:
        self._github.fail("POST", "/comments$", after=True, drop=True)

    def _one(self, things: Sequence[T], fits: Callable[[T], bool] = lambda _: True) -> T | None:
        """One of those that fit, if there are any."""
        fitting = [thing for thing in things if fits(thing)]
        return self._dice.choice(fitting) if fitting else None
