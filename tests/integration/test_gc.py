"""`stager gc` on real Docker: it lists what is left over with the reason, and removes only that."""

from __future__ import annotations

import json
import shlex
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.integration.conftest import MakeStager
from tests.integration.images import base_image
from tests.integration.person import Person
from tests.integration.stager import PASSWORD, USER, docker, until
from tests.unit.docs.written import page_sample


def test_what_is_left_over_is_listed_and_removed(make_stager: MakeStager, tmp_path: Path) -> None:
    stager = make_stager(reconcile_interval="1h")
    (tmp_path / "person").mkdir()
    person = Person(tmp_path / "person", stager.url)
    person.sign_in(USER, PASSWORD)
    stager.launched("stays")
    ours = ["--label", f"stager.installation={stager.installation}"]
    network, volume, foreign = (f"stager-{stager.installation}-{word}" for word in ("n", "v", "foreign"))
    marks = ["--label", "stager.environment=gone", "--label", "stager.generation=0"]
    docker("network", "create", *ours, *marks, network)
    docker("volume", "create", *ours, *marks, "--label", "stager.volume=data", volume)
    docker("volume", "create", "--label", "stager.installation=another", foreign)
    try:
        image = base_image("static")
        fill = ["dd", "if=/dev/zero", "of=/data/x", "count=2048"]
        docker("run", "--rm", "--volume", f"{volume}:/data", image, *fill)
        dry_run, _ = page_sample("life-of-a-preview.md", "stager gc --dry-run").splitlines()
        listed = person.run(*shlex.split(dry_run)[1:], "--json")
        assert listed.returncode == 0, listed.stderr
        found = {each["name"]: each for each in json.loads(listed.stdout)}
        assert found.keys() == {network, volume}
        assert found[network]["why"] == "no container is in it"
        assert found[volume]["why"] == 'volume "data" of a preview that was removed, killed or expired'
        assert found[volume]["size"] >= 1 << 20
        assert volume in stager.volumes(), "a dry run removes nothing"

        removed = person.run("gc")
        assert removed.returncode == 0, removed.stderr
        assert "no container is in it" in removed.stdout
        assert "Freed 1" in removed.stderr
        assert volume not in stager.volumes()
        assert foreign in docker("volume", "ls", "--quiet").split()
        assert stager.get("stays").status_code == 200
        assert "There is nothing to remove." in person.run("gc", "--dry-run").stderr
        assert len(stager.networks()) == 1
    finally:
        docker("volume", "rm", foreign)


def test_a_preview_that_expired(make_stager: MakeStager, tmp_path: Path) -> None:
    """The shortest life, and a database in which everything happened two hours ago."""
    stager = make_stager(defaults={"expire_after": "1h"})
    (tmp_path / "person").mkdir()
    person = Person(tmp_path / "person", stager.url)
    person.sign_in(USER, PASSWORD)
    stager.launched("stays")
    for line in page_sample("life-of-a-preview.md", "stager extend shop my-branch").splitlines():
        words = shlex.split(line.replace("my-branch", "stays"))
        done = person.run(*words[1:])
        assert done.returncode == 0, done.stderr
    assert stager.environment("stays")["is_pinned"]
    stager.launched("forgotten")
    stager.kill9()
    _make_older(stager.state / "stager.db", "forgotten")
    stager.start()

    until(lambda: stager.environment("forgotten")["state"] == "expired", "it expires")
    until(lambda: stager.get("forgotten").status_code == 410, "its page is shown")
    assert "expired" in stager.get("forgotten").text
    until(lambda: len(stager.containers()) == 1, "its container is gone")
    assert stager.get("stays").status_code == 200
    stager.launched("forgotten")
    assert stager.get("forgotten").status_code == 200


def _make_older(database: Path, name: str) -> None:
    """Store that the preview was launched two hours ago, that it was announced to expire an hour ago, and
    that Stager ran all the time."""
    now = datetime.now(UTC)
    notice = {"since": (now - timedelta(hours=1)).isoformat(), "expires_at": now.isoformat()}
    two_hours = 2 * 3600 * 1_000_000
    with closing(sqlite3.connect(database)) as connection, connection:
        [(id_,)] = connection.execute("SELECT id FROM environments WHERE name = ?", (name,)).fetchall()
        connection.execute(
            "UPDATE environments SET created_at = created_at - ? WHERE id = ?", (two_hours, id_)
        )
        connection.execute(
            "UPDATE deployments SET created_at = created_at - ? WHERE environment_id = ?", (two_hours, id_)
        )
        connection.execute(
            "INSERT OR REPLACE INTO environment_state (environment_id, kind, value) VALUES (?, 'expiry', ?)",
            (id_, json.dumps(notice)),
        )
        ran = json.dumps({"seen": now.isoformat(), "gaps": []})
        connection.execute("UPDATE facts SET value = ? WHERE name = 'observed-time'", (ran,))
