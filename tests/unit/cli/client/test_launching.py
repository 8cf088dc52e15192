"""What should be, and waiting until it is."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog

from stager.auth.basic import BasicAuthentication
from stager.domain.identity.access_policy import Privacy
from stager.ports.firewall import Blocked
from stager.testing import Program
from tests.unit.cli.client.conftest import Run
from tests.unit.cli.client.served import USERS, Served, served
from tests.unit.control.harness import IMAGE, SHOP, Harness

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
        await harness.deliver(harness.forge.open(base, "feature-x", SHA, fork=fork))

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


def test_show_lists_what_was_blocked_and_what_opens_it(signed_in: Served, run: Run) -> None:
    environment = json.loads(run("launch", "shop", "x", "--json").stdout)["id"]
    now = datetime.now(UTC)
    signed_in.harness.firewall.block(Blocked(environment, "10.0.0.5", 5432, "tcp", 7, now))
    signed_in.harness.firewall.block(Blocked(environment, "10.0.0.6", 0, "icmp", 1, now))
    shown = run("show", "x").stdout
    attempts = '10.0.0.5 port 5432/tcp, 7 times; egress_allow: ["10.0.0.5:5432"] allows it'
    assert f"blocked:     {attempts}\n" in shown
    assert "blocked:     10.0.0.6/icmp, 1 times\n" in shown


def test_a_preview_is_named_by_its_slug_host_or_url(signed_in: Served, run: Run) -> None:
    url = run("launch", "shop", "Feature/X", "--no-open").stdout.strip()
    host = url.removeprefix("http://")
    for words in (["feature-x"], ["shop", "feature-x"], ["shop", url], [host], [host.upper()]):
        assert json.loads(run("show", *words, "--json").stdout)["name"] == "Feature/X", words
    assert run("show", "blog", "feature-x").exit_code == 5
    assert json.loads(run("launch", "shop", url, "--json").stdout)["name"] == "Feature/X"


def test_a_raw_name_precedes_a_slug(signed_in: Served, run: Run) -> None:
    for name in ("feature/x", "feature-x"):
        assert run("launch", "shop", name, "--no-open").exit_code == 0
    assert json.loads(run("show", "feature-x", "--json").stdout)["name"] == "feature-x"


def test_a_failure_is_reported_once(signed_in: Served, run: Run) -> None:
    def broken() -> None:
        signed_in.harness.engine.add_image(IMAGE, Program(exit_code=1, output="no such table"))

    signed_in.do(broken)
    done = run("launch", "shop", "x", "--no-open")
    message = done.stderr.rpartition("stager: ")[2].splitlines()[0].partition(".")[0]
    assert done.exit_code == 1
    assert message
    assert done.stderr.count(message) == 1


def test_a_private_preview_is_shared_for_a_time(run: Run) -> None:
    application = replace(SHOP, privacy=Privacy(ways=frozenset({"sign-in", "link"})))
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with served(Harness(applications=[application], authentication=[BasicAuthentication(USERS)])) as stager:
        assert (
            run("configure", f"endpoint={stager.url}", "auth_strategy=Basic", "username=ann").exit_code == 0
        )
        assert run("login", "--stdin", stdin="pa:ss\n").exit_code == 0
        assert run("launch", "shop", "x", "--no-open").exit_code == 0
        shared = run("share", "shop", "x", "--for", "1d", "--note", "the designer", "--json")
        link = json.loads(shared.stdout)
        text = run("share", "x").stdout
    structlog.reset_defaults()

    lifetime = datetime.fromisoformat(link["expires_at"]) - datetime.fromisoformat(link["created_at"])
    assert (lifetime, link["note"]) == (timedelta(days=1), "the designer")
    assert link["url"].startswith("http://x.preview.test/")
    assert text.startswith("http://x.preview.test/")


def test_a_preview_that_isnt_private_has_no_links(signed_in: Served, run: Run) -> None:
    assert run("launch", "shop", "x", "--no-open").exit_code == 0
    refused = run("share", "shop", "x", "--for", "1d")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "`private` of its application must list" in " ".join(refused.stderr.split())
    assert run("share", "shop", "x", "--for", "soon").exit_code == 2
