"""The access matrix's side of the command line: every role, every command. What isn't listed fails a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from stager.auth.basic import BasicAuthentication
from stager.cli.command_table import COMMANDS as COMMAND_TABLE
from stager.cli.command_table import SERVER, load
from stager.control.identity.authorizer import Roles
from stager.domain.identity.roles import Action, Role, may
from stager.testing import Program
from stager.testing.fakes.program import Inner
from tests.unit.cli.client.conftest import Run
from tests.unit.cli.client.served import Served, served
from tests.unit.control.harness import IMAGE, Harness
from tests.unit.web.test_matrix import save_snapshot

NOT_KNOWN, REFUSED, NOT_THERE, TOO_LATE = 3, 4, 5, 6
"""Exit codes; see docs/reference/cli.md."""

COMMANDS: dict[str, tuple[Action, tuple[str, ...]]] = {
    "launch": (Action.LAUNCH, ("shop", "x", "--no-open")),
    "kill": (Action.KILL, ("shop", "x")),
    "redeploy": (Action.REDEPLOY, ("x",)),
    "gc": (Action.COLLECT_GARBAGE, ("--dry-run",)),
    "nodes list": (Action.MANAGE_NODES, ()),
    "nodes drain": (Action.MANAGE_NODES, ("node-2",)),
    "nodes activate": (Action.MANAGE_NODES, ("node-2",)),
    "pin": (Action.KEEP, ("x",)),
    "extend": (Action.KEEP, ("x",)),
    "rollback": (Action.ROLL_BACK, ("x",)),
    "approve": (Action.APPROVE, ("0" * 40, "x")),
    "wait": (Action.SEE, ("x", "--timeout", "2")),
    "show": (Action.SEE, ("x",)),
    "open": (Action.SEE, ("x",)),
    "logs": (Action.READ_LOGS, ("x",)),
    "deliveries": (Action.READ_DELIVERIES, ()),
    "pictures": (Action.SEE, ("x",)),
    "share": (Action.SHARE, ("x", "--for", "1d")),
    "reset": (Action.RESET, ("x", "--no-wait")),
    "sleep": (Action.SLEEP, ("x",)),
    "wake": (Action.WAKE, ("x",)),
    "snapshot create": (Action.MANAGE_SNAPSHOTS, ("shop", "--from", "x", "--no-wait")),
    "snapshot show": (Action.SEE, ("shop", "1")),
    "snapshot use": (Action.MANAGE_SNAPSHOTS, ("shop", "1")),
    "snapshot delete": (Action.MANAGE_SNAPSHOTS, ("shop", "1", "--yes")),
    "snapshot download": (Action.DOWNLOAD_SNAPSHOT, ("shop", "1", "--output", "-")),
    "exec": (Action.EXEC, ("x", "--", "speaks")),
}
FOR_WHOEVER_IS_KNOWN = {
    "list": (),
    "capacity": (),
    "snapshot list": (),
    "whoami": (),
    "why": ("acme/shop#7",),
    "token list": (),
    "token create": ("CI",),
}
ONES_OWN = {"configure", "login", "logout", "token revoke"}
"""These have to do with oneself alone; test_people.py and test_signing_in.py have them."""


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    """A server with a user of each role, who is called so."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    users = {str(role): "secret" for role in Role}
    harness = Harness(
        authentication=[BasicAuthentication(users)], roles=Roles({f"basic:{role}": role for role in Role})
    )
    harness.engine.add_image(IMAGE, Program(output="ready", inner={"speaks": Inner(0, "said")}))
    with served(harness) as stager:
        yield stager
    structlog.reset_defaults()


@pytest.fixture
def shop(server: Served, run: Run) -> Served:
    """The server, with a preview that is live, for a user who isn't signed in."""

    async def live() -> None:
        await server.harness.launch("x")

    server.call(live)
    server.call(lambda: save_snapshot(server.harness))
    assert run("configure", f"endpoint={server.url}", "auth_strategy=Basic").exit_code == 0
    return server


def by(role: Role | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if role is not None:
        monkeypatch.setenv("STAGER_USERNAME", str(role))
        monkeypatch.setenv("STAGER_PASSWORD", "secret")


@pytest.mark.parametrize("role", [None, *Role], ids=str)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_cell(
    shop: Served, run: Run, monkeypatch: pytest.MonkeyPatch, command: str, role: Role | None
) -> None:
    del shop
    by(role, monkeypatch)
    action, words = COMMANDS[command]
    done = run(*command.split(), *words)

    if role is None:
        assert done.exit_code == NOT_KNOWN, done.output
    elif may(role, action):
        assert done.exit_code not in {NOT_KNOWN, REFUSED, NOT_THERE}, done.output
    else:
        # To whom nothing may be shown, it isn't there, however long they wait.
        hidden = {REFUSED, NOT_THERE, TOO_LATE} if role is Role.NONE else {REFUSED}
        assert done.exit_code in hidden, done.output
        assert done.stderr


@pytest.mark.parametrize("role", [None, *Role], ids=str)
@pytest.mark.parametrize("command", FOR_WHOEVER_IS_KNOWN)
def test_what_each_role_may_do(
    shop: Served, run: Run, monkeypatch: pytest.MonkeyPatch, command: str, role: Role | None
) -> None:
    del shop
    by(role, monkeypatch)
    done = run(*command.split(), *FOR_WHOEVER_IS_KNOWN[command])
    assert done.exit_code == (NOT_KNOWN if role is None else 0), done.output


def test_every_command_is_on_this_page() -> None:
    commands = [(entry.name, load(entry)) for entry in COMMAND_TABLE if entry.section != SERVER]
    there = {name for word, command in commands for name in _names(command, word)}
    assert there == COMMANDS.keys() | FOR_WHOEVER_IS_KNOWN.keys() | ONES_OWN


def _names(command: object, name: str = "") -> Iterator[str]:
    within: dict[str, object] = getattr(command, "commands", {})
    if not within:
        yield name
    for word, part in within.items():
        yield from _names(part, f"{name} {word}".strip())
