"""The tools of `/mcp`, called by the Python SDK."""

from __future__ import annotations

import json

import pytest

from stager.testing.fakes.program import Inner, Program
from stager.web.mcp.acting import MAX_OUTPUT
from tests.unit.control.harness import IMAGE
from tests.unit.web.harness import WebHarness
from tests.unit.web.mcp.client import call, connected, refused, text_of

MOST_BYTES = 10_000


async def launch(web: WebHarness, name: str = "feature") -> str:
    answer = await web.ask(
        "POST", "/api/v1/environments", json={"image_name": "shop", "container_name": name}
    )
    return str(answer.json()["id"])


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_of_either_era_lists_and_calls_tools(web: WebHarness, mode: str) -> None:
    preview = await launch(web)

    async with connected(web, mode=mode) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        done = await call(client, "wait_for_preview", preview=preview)
        listed = await call(client, "list_previews", state="live")

    assert {"list_previews", "show_preview", "wait_for_preview"} <= names
    assert (done["settled"], done["live"], done["preview"]["state"]) == (True, True, "live")
    assert [each["name"] for each in listed["previews"]] == ["feature"]


async def test_the_list_of_tools_is_small_and_says_what_is_safe(web: WebHarness) -> None:
    async with connected(web) as client:
        listed = await client.list_tools()

    size = len(json.dumps(listed.model_dump(mode="json", by_alias=True, exclude_none=True)))
    assert len(listed.tools) <= 12
    assert size < MOST_BYTES
    for tool in listed.tools:
        assert tool.description
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is not None


async def test_a_preview_is_found_by_id_name_or_url(web: WebHarness) -> None:
    preview = await launch(web)

    async with connected(web) as client:
        shown = await call(client, "show_preview", preview=preview)
        for word in ("feature", shown["url"], shown["url"].partition("://")[2]):
            assert (await call(client, "show_preview", preview=word))["id"] == preview
        problem = await refused(client, "show_preview", preview="no-such")

    assert problem["reason"] == "environment-unknown"
    assert problem["status"] == 404


async def test_a_failure_and_the_logs_are_shown(web: WebHarness) -> None:
    web.harness.engine.add_image(IMAGE, Program(exit_code=3, output="reading\nno such table"))
    preview = await launch(web)

    async with connected(web) as client:
        waited = await call(client, "wait_for_preview", preview=preview)
        failure = (await call(client, "preview_failure", preview=preview))["failure"]
        logs = await call(client, "preview_logs", preview=preview, lines=1)
        build = await call(client, "preview_logs", preview=preview, kind="build")

    assert (waited["settled"], waited["live"], waited["preview"]["state"]) == (True, False, "failed")
    assert failure["code"] == waited["preview"]["reason"]
    assert "no such table" in failure["excerpt"]
    assert (logs["lines"], build["lines"]) == (["no such table"], [])


async def test_a_command_runs_with_bounded_output(web: WebHarness) -> None:
    inner = {"seq": Inner(2, "line\r\n" * MAX_OUTPUT), "sh": Inner(listens=True)}
    web.harness.engine.add_image(IMAGE, Program(inner=inner))
    preview = await launch(web)

    async with connected(web) as client:
        await call(client, "wait_for_preview", preview=preview)
        done = await call(client, "run_command", preview=preview, command=["seq"])
        hanging = await call(client, "run_command", preview=preview, command=["sh"], seconds=2)

    assert (done["exit_code"], done["truncated"]) == (2, True)
    assert len(done["output"]) <= MAX_OUTPUT
    assert done["output"].endswith("line\nline\n")
    assert hanging["exit_code"] is None


async def test_calls_are_audited_under_the_persons_name(web: WebHarness) -> None:
    async with connected(web) as client:
        launched = await call(client, "launch_preview", app="shop", name="feature", variables={"A": "1"})
        await call(client, "kill_preview", preview=launched["id"])

    audit = (await web.ask("GET", "/api/v1/audit")).json()
    assert {(each["actor"], each["action"], each["result"]) for each in audit} >= {
        ("ann (BasicAuthentication, MCP)", "launch", "done"),
        ("ann (BasicAuthentication, MCP)", "kill", "done"),
    }


@pytest.mark.parametrize(
    "arguments",
    [{}, {"preview": "x", "colour": "red"}, {"preview": "x" * 301}, {"preview": "x", "seconds": 0}],
)
async def test_wrong_arguments_are_named(web: WebHarness, arguments: dict[str, object]) -> None:
    async with connected(web) as client:
        result = await client.call_tool("wait_for_preview", arguments)

    assert result.is_error
    assert text_of(result).startswith("Error executing tool wait_for_preview")


async def test_why_answers_with_the_rule_or_as_about_an_unknown_repository(web: WebHarness) -> None:
    async with connected(web) as client:
        answer = await call(client, "why_no_preview", target="acme/unknown#7")
        invalid = await refused(client, "why_no_preview", target="nothing")

    assert answer["code"]
    assert answer["message"]
    assert answer["environment"] is None
    assert invalid["reason"] == "target-invalid"
