"""What should be, and waiting until it is."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from stager.ports.firewall import Blocked
from tests.unit.cli.client.conftest import Run
from tests.unit.cli.client.served import Served

SHA = "c0ffee1234" * 4


def test_a_launch_ends_with_the_url_on_standard_output(signed_in: Served, run: Run) -> None:
    done = run("launch", "shop", "Feature/X")
    assert (done.exit_code, done.stdout) == (0, "http://feature-x.preview.test\n")
    assert "The preview is live." in done.stderr  # what came before may be over too soon to be seen
    assert "Live after" in done.stderr

    listed = run("list")
    assert listed.stdout.splitlines()[1].split()[:3] == ["shop", "Feature/X", "live"]

    shown = json.loads(run("show", "shop", "Feature/X", "--json").stdout)
    assert (shown["state"], shown["deployments"][0]["phase"]) == ("live", "live")


def test_a_launch_hands_over_variables(signed_in: Served, run: Run) -> None:
    launched = run("launch", "shop", "x", "--set", "FEATURE=a=b", "--json")
    assert launched.exit_code == 0
    assert json.loads(launched.stdout)["state"] == "live"
    [instance] = signed_in.harness.engine.there()
    assert signed_in.harness.engine.spec(instance.id).variables["FEATURE"] == "a=b"
    assert run("launch", "shop", "x", "--set", "FEATURE").exit_code == 2


def test_kill_takes_name_id_or_url(signed_in: Served, run: Run) -> None:
    for which in (["shop", "x"], ["x"], ["id"], ["url"]):
        preview = json.loads(run("launch", "shop", "x", "--json").stdout)
        words = [preview.get(word, word) if word in ("id", "url") else word for word in which]
        assert run("kill", *words).exit_code == 0
        assert run("list").stdout == ""
    nothing = run("kill", "shop", "x")
    assert (nothing.exit_code, nothing.stdout) == (5, "")
    assert 'There is no preview "x" of shop.' in nothing.stderr


def test_a_launch_names_a_branch_or_a_tag(signed_in: Served, run: Run) -> None:
    refused = run("launch", "shop", "refs/pull/34/head")
    assert refused.exit_code != 0
    assert "isn't the name of a branch or a tag" in " ".join(refused.stderr.split())
    assert signed_in.harness.engine.there() == []


def test_a_forks_commit_is_approved_by_its_whole_id(signed_in: Served, run: Run) -> None:
    async def opened() -> None:
        harness = signed_in.harness
        base, fork = (
            harness.forge.add_repository("acme", "shop"),
            harness.forge.add_repository("mallory", "shop"),
        )
        await harness.tell(harness.forge.open(base, "feature-x", SHA, fork=fork))

    signed_in.call(opened)
    for given, said in (
        (SHA[:7], "isn't a full commit id"),
        (SHA[:7] + "0" * 33, "isn't the commit that is waiting for approval"),
    ):
        refused = run("approve", given, "shop", "feature-x")
        assert refused.exit_code != 0
        assert said in " ".join(refused.stderr.split())
    assert SHA in run("show", "feature-x").stdout
    assert signed_in.harness.engine.there() == []

    approved = run("approve", SHA, "shop", "feature-x", "--json")
    assert approved.exit_code == 0, approved.output
    assert (json.loads(approved.stdout)["state"], json.loads(approved.stdout)["sha"]) == ("live", SHA)


def test_show_tells_what_was_blocked_and_what_opens_it(signed_in: Served, run: Run) -> None:
    environment = json.loads(run("launch", "shop", "x", "--json").stdout)["id"]
    now = datetime.now(UTC)
    signed_in.harness.firewall.block(Blocked(environment, "10.0.0.5", 5432, "tcp", 7, now))
    signed_in.harness.firewall.block(Blocked(environment, "10.0.0.6", 0, "icmp", 1, now))
    shown = run("show", "x").stdout
    attempts = '10.0.0.5 port 5432/tcp, 7 times; egress_allow: ["10.0.0.5:5432"] allows it'
    assert f"blocked:     {attempts}\n" in shown
    assert "blocked:     10.0.0.6/icmp, 1 times\n" in shown
