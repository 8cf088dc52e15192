"""Which snapshot a deployment's volumes are cloned from, and which snapshots stay."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from stager.domain.deployment import DeployedService
from stager.domain.errors import Fault
from stager.domain.service import Mount, ServiceSpec
from stager.domain.snapshot import (
    Snapshot,
    SnapshotState,
    SnapshotVolume,
    current_of,
    expired,
    is_compatible,
    with_clones,
)
from stager.domain.source import Trust

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def snapshot(number: int = 1, **changed: object) -> Snapshot:
    whole = Snapshot(
        f"s{number}",
        "shop",
        number,
        SnapshotState.READY,
        NOON,
        "ann (test)",
        "preview main",
        images={"db": "postgres:16"},
        volumes=(SnapshotVolume("db", "data", 10),),
        secrets_of={"db": "env1"},
    )
    return replace(whole, **changed)  # type: ignore[arg-type]


def service(image: str = "postgres:16", **changed: object) -> DeployedService:
    spec = ServiceSpec("db", image=image, mounts=(Mount("/data", volume="data"),))
    whole = DeployedService(spec, "sha256:1", fresh_volumes=frozenset({"data"}), clones={"data": ""})
    return replace(whole, **changed)  # type: ignore[arg-type]


class TestWithClones:
    def test_a_volume_is_cloned_with_the_secrets_that_its_files_contain(self) -> None:
        [found] = with_clones([service()], snapshot(), Trust.TRUSTED)

        assert (found.clones, found.secrets_of, found.clone_note) == ({"data": "s1"}, "env1", "")

    def test_volumes_with_another_policy_stay(self) -> None:
        kept = service(clones={}, fresh_volumes=frozenset())

        assert with_clones([kept], snapshot(), Trust.TRUSTED) == (kept,)

    @pytest.mark.parametrize(
        ("given", "trust", "why"),
        [
            (None, Trust.TRUSTED, "there was no snapshot yet"),
            (snapshot(), Trust.FORK, "isn't allowed for forks"),
            (snapshot(volumes=()), Trust.TRUSTED, "snapshot 1 doesn't have it"),
        ],
    )
    def test_otherwise_it_starts_empty_and_says_why(
        self, given: Snapshot | None, trust: Trust, why: str
    ) -> None:
        [found] = with_clones([service()], given, trust)

        assert (found.clones, found.secrets_of) == ({"data": ""}, "")
        assert why in found.clone_note

    def test_code_from_forks_gets_a_snapshot_that_is_allowed_for_it(self) -> None:
        [found] = with_clones([service()], snapshot(forks_allowed=True), Trust.FORK)

        assert found.clones == {"data": "s1"}

    def test_another_version_is_refused_in_words(self) -> None:
        with pytest.raises(Fault, match=r"runs postgres:17.*snapshot 1.*postgres:16") as raised:
            with_clones([service("postgres:17")], snapshot(), Trust.TRUSTED)

        assert raised.value.reason == "snapshot-version"
        assert "stager snapshot create shop" in raised.value.hint
        assert "volumes: {data: fresh}" in raised.value.hint

    def test_an_empty_volume_needs_no_version(self) -> None:
        [found] = with_clones([service("postgres:17")], snapshot(), Trust.FORK)

        assert found.clones == {"data": ""}


@pytest.mark.parametrize(
    ("then", "now", "compatible"),
    [
        ("postgres:16", "postgres:16", True),
        ("postgres:16.1", "postgres:16.4", True),
        ("postgres:16", "docker.io/library/postgres:16-bookworm", True),
        ("postgres:16", "postgres:16-alpine", False),
        ("postgres:15", "postgres:16", False),
        ("postgres:16", "postgres:15", False),
        ("postgres:latest", "postgres:latest", True),
        ("postgres", "postgres:16", False),
        ("pgvector/pgvector:pg16", "pgvector/pgvector:0.8.0-pg16", True),
        ("pgvector/pgvector:pg16", "pgvector/pgvector:pg17", False),
        ("mysql:8.0.35", "mysql:8.0", True),
        ("mysql:8.0", "mysql:8.4", False),
        ("mysql:8", "mysql:8", True),
        ("mysql:8", "mysql:8.4", False),
        ("mariadb:10.11", "mysql:10.11", False),
        ("redis:6", "redis:7", True),
        ("redis:7.2", "redis:7.0", False),
        ("redis:7", "valkey/valkey:8", False),
        ("elasticsearch:8.1", "elasticsearch:8.1", True),
        ("elasticsearch:8.1", "elasticsearch:8.2", False),
        ("acme/db:1@sha256:aa", "acme/db:1@sha256:bb", True),
        ("", "", True),
        ("postgres:16", "", False),
        ("", "postgres:16", False),
    ],
)
def test_versions(then: str, now: str, *, compatible: bool) -> None:
    assert is_compatible(then, now) is compatible


class TestCurrent:
    def test_is_the_newest_that_is_ready(self) -> None:
        making = snapshot(3, state=SnapshotState.MAKING)

        assert current_of([snapshot(1), snapshot(2), making]) == snapshot(2)
        assert current_of([making]) is None

    def test_a_chosen_one_stays_it(self) -> None:
        chosen = snapshot(1, is_chosen=True)

        assert current_of([chosen, snapshot(2)]) == chosen


class TestExpired:
    def test_the_newest_stay(self) -> None:
        assert [each.number for each in expired(map(snapshot, range(1, 6)), 3)] == [2, 1]

    def test_the_current_one_and_those_with_a_name_stay(self) -> None:
        given = [snapshot(1, is_chosen=True), snapshot(2, name="demo"), *map(snapshot, range(3, 6))]

        assert [each.number for each in expired(given, 2)] == [4, 3]

    def test_failures_are_kept_beside_those_that_are_ready(self) -> None:
        given = [snapshot(n, state=SnapshotState.FAILED) for n in (1, 2, 3)]

        assert [each.number for each in expired([*given, snapshot(4), snapshot(5)], 2)] == [1]

    @pytest.mark.parametrize("state", [SnapshotState.MAKING, SnapshotState.DELETING])
    def test_one_that_is_being_made_or_deleted_stays(self, state: SnapshotState) -> None:
        assert expired([snapshot(1, state=state), snapshot(2)], 1) == []
