"""What store tests save: one of each kind, with different values in all fields, to vary by keyword."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from stager.domain.attempt import Attempt, ServiceFailure
from stager.domain.deployment import DeployedService, Deployment
from stager.domain.environment import (
    ChangeLink,
    Desired,
    Environment,
    EnvironmentKey,
    RunState,
    Suspension,
    SuspensionReason,
)
from stager.domain.errors import Outcome
from stager.domain.identity.accounts import Person, Session, ShareLink, Token
from stager.domain.identity.roles import Role
from stager.domain.pull_requests.events import Delivery
from stager.domain.recipe import Hook, Hooks, Manifest, Recipe
from stager.domain.service import Condition, Mount, ServiceCheck, ServiceSpec
from stager.domain.snapshot import Snapshot, SnapshotState, SnapshotVolume
from stager.domain.source import Change, Repository, Revision, Trust

NOON = datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)
ANN = Person("ann", "GitHub", "GithubAuthentication", "sealed")
BASE = Repository("github:10", "acme", "shop")
FORK = Repository("github:99", "mallory", "shop")
LINK = ChangeLink(
    "github:10", "acme", "shop", 7, "main", "Größer, <b>better</b> 🚀", "ann", "https://forge.test/7"
)


def later(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


SUSPENSION = Suspension(SuspensionReason.FORK, "It comes from a fork.", "Ask somebody with push access.")


def environment(number: int = 1, *, present: bool = True, **changed: Any) -> Environment:
    """A full one; `number` makes its id, key and host."""
    whole = Environment(
        id=f"env{number}",
        key=EnvironmentKey.of_change("shop", "github:10", number),
        name="feature/Übergröße 'x'; --",
        host=f"h{number}.preview.test",
        desired=Desired(
            RunState.SUSPENDED if present else RunState.ABSENT,
            3,
            Revision("c0ffee", "refs/heads/x"),
            {"Z": "1", "A": "x\ny", "EMPTY": ""},
            Trust.FORK,
            SUSPENSION if present else None,
        ),
        created_at=NOON,
        updated_at=later(1),
        change=LINK,
        comment_id="4711",
        serving=2,
        approved_sha="c0ffee",
        volume_epoch=2,
        has_cloned_data=True,
        asleep_runs=frozenset({"i1@t1", "i2@t1"}),
    )
    return replace(whole, **changed)


def bare_environment(number: int = 1, **changed: Any) -> Environment:
    """One with nothing in it that need not be there."""
    key = EnvironmentKey.of_name("shop", str(number))
    bare = Environment(
        f"env{number}", key, str(number), f"h{number}.test", Desired(RunState.RUNNING, 1), NOON, NOON
    )
    return replace(bare, **changed)


SERVICES = (
    DeployedService(ServiceSpec("web", build=Recipe("app")), "sha256:1234", "d1", build="b1", is_main=True),
    DeployedService(
        ServiceSpec(
            "db",
            image="postgres:16",
            command=("postgres", "-c", "x=1"),
            entrypoint=(),
            variables={"POSTGRES_DB": "shop"},
            port=5432,
            check=ServiceCheck(command=("pg_isready",), interval=2.5, start_timeout=60.0),
            depends_on={"setup": Condition.COMPLETED, "web": Condition.STARTED},
            is_job=True,
            mounts=(Mount("/data", volume="data"), Mount("/init.sql", content="init.sql", is_read_only=True)),
            tmpfs=("/run",),
            memory=1 << 28,
            cpus=0.5,
            aliases=("database",),
            user="postgres",
            working_dir="/",
            stop_signal="SIGINT",
            stop_grace_period=20.0,
            shared_memory=1 << 26,
        ),
        "sha256:5678",
        "d2",
        "db--h1.preview.test",
        has_healthcheck=True,
        fresh_volumes=frozenset({"data"}),
        is_kept=True,
        clones={"data": "s1"},
        clone_note="The volume x started empty.",
        secrets_of="env9",
        volume_epoch=2,
    ),
)


def deployment(number: int = 1, *, environment_id: str = "env1", **changed: Any) -> Deployment:
    """A full one of generation `number`."""
    outcome = Outcome("fault", "image-missing", "There is no such image.", "Build it.", "line 1\nline 2")
    whole = Deployment(
        id=f"dep{number}",
        environment_id=environment_id,
        revision=Revision("c0ffee", "refs/heads/x"),
        attempt=Attempt(
            number,
            2,
            later(9),
            outcome,
            True,
            {"web": "container@then"},
            {"db": ServiceFailure(1, later(8), outcome, True, "container@later")},
        ),
        created_at=NOON,
        image="sha256:1234",
        starting_at=later(1),
        checking_at=later(2),
        live_at=later(3),
        ended_at=later(4),
        log="\x1b[31mred\x1b[0m \x00 end",
        building_at=later(0.5),
        build="b1",
        manifest=Manifest(
            8080,
            ("serve", "-p 1"),
            "/up",
            {"A": "1"},
            Hooks((Hook(("migrate", "all")),), (Hook(("dump",), "db"),)),
            True,
        ),
        services=SERVICES,
    )
    return replace(whole, **changed)


def bare_deployment(number: int = 1, *, environment_id: str = "env1") -> Deployment:
    return Deployment(f"dep{number}", environment_id, Revision(), Attempt(number), NOON)


def change(number: int = 7, **changed: Any) -> Change:
    whole = Change(
        repository=BASE,
        number=number,
        is_open=True,
        head_sha="c0ffee",
        head_ref="feature/x",
        head_repository=FORK,
        base_ref="main",
        title="Größer 🚀",
        author="ann",
        url="https://forge.test/7",
        updated_at=datetime(2026, 3, 1, 14, 0, tzinfo=timezone(timedelta(hours=2))),
        merged=False,
        head_before="decaf",
        labels=("preview", "größer"),
        draft=True,
        description="Why.\n\nBecause.",
        author_is_bot=True,
    )
    return replace(whole, **changed)


def snapshot(number: int = 1, app: str = "shop", **changed: Any) -> Snapshot:
    whole = Snapshot(
        id=f"{app}-s{number}",
        app=app,
        number=number,
        state=SnapshotState.FAILED,
        created_at=later(number),
        created_by="ann (GitHub)",
        origin="preview größer",
        name="before the sale 🚀",
        revision=Revision("c0ffee", "main"),
        images={"db": "postgres:16", "web": ""},
        volumes=(SnapshotVolume("db", "data", 1 << 40), SnapshotVolume("web", "uploads")),
        is_masked=True,
        forks_allowed=True,
        storage="copies",
        is_chosen=True,
        secrets_of={"db": "env1"},
        progress="Copying 2 volumes",
        problem=Outcome("fault", "mask-failed", "It failed.", "Correct it.", "line 1\nline 2"),
    )
    return replace(whole, **changed)


def delivery(number: int = 1, *, forge: str = "github", payload: str = '{"a": "\\ud800"}') -> Delivery:
    return Delivery(f"guid-{number}", forge, "pull_request", payload)


def session(number: int = 1, **changed: object) -> Session:
    whole = Session(f"s{number}", f"d{number}", ANN, later(number), later(2), later(60), "192.0.2.1", "Fox/1")
    return replace(whole, **changed)  # type: ignore[arg-type]


def token(number: int = 1, **changed: object) -> Token:
    whole = Token(
        id=f"t{number}",
        digest=f"d{number}",
        label="CI <b>",
        owner=ANN,
        role=Role.DEVELOPER,
        apps=frozenset({"shop", "blog"}),
        created_at=later(number),
        expires_at=later(60),
        used_at=later(3),
        revoked_at=later(4),
    )
    return replace(whole, **changed)  # type: ignore[arg-type]


def link(number: int = 1, **changed: object) -> ShareLink:
    whole = ShareLink(f"l{number}", "env1", "ann (GitHub)", "for Bo", later(number), later(60), later(5))
    return replace(whole, **changed)  # type: ignore[arg-type]
