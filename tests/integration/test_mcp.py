"""`/mcp` of a real Stager: two clients list and call every tool."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent

from tests.integration.conftest import MakeStager
from tests.integration.service_cycles import SERVICES
from tests.integration.stager import PASSWORD, USER, StagerUnderTest
from tests.unit.docs.pages import ROOT
from tests.unit.docs.written import page_sample

PACKAGE = "@modelcontextprotocol/client@2.4.0"
CACHE = ROOT / ".cache" / "mcp-client"
CLIENT = Path(__file__).with_name("mcp_client.mjs")

Calls = list[tuple[str, dict[str, Any]]]
"""Tools and their arguments."""


@pytest.fixture(scope="session")
def typescript_sdk() -> Path:
    """The TypeScript SDK's client, from npm once."""
    module = CACHE / "node_modules" / "@modelcontextprotocol" / "client" / "dist" / "index.mjs"
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("no Node.js with npm")
    if not module.exists():
        quiet = ["--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"]
        command = ["npm", "install", "--prefix", str(CACHE), *quiet, PACKAGE]
        CACHE.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode:
            pytest.skip(f"npm could not install {PACKAGE}: {done.stderr[-300:]}")
    return module


@pytest.fixture
def stager(make_stager: MakeStager) -> Iterator[StagerUnderTest]:
    shop = {"private": "link", "services": {"store": SERVICES["store"]}}
    stager = make_stager(mcp=True, images={"shop": shop})
    yield stager
    stager.empty()


def token_of(stager: StagerUnderTest, role: str = "developer") -> str:
    """The value of `Authorization` with a new token."""
    made = stager.api("/tokens", "POST", json={"label": "agent", "role": role})
    return f"Bearer {made['token']}"


def every_tool() -> Calls:
    """A call of each tool, in an order in which each succeeds."""
    return [
        ("launch_preview", {"app": "shop", "name": "feature"}),
        ("wait_for_preview", {"preview": "feature"}),
        ("list_previews", {"state": "live"}),
        ("show_preview", {"preview": "feature"}),
        ("preview_failure", {"preview": "feature"}),
        ("preview_logs", {"preview": "feature"}),
        ("why_no_preview", {"target": "acme/shop#7"}),
        ("run_command", {"preview": "feature", "command": ["sh", "-c", "echo hello; exit 3"]}),
        ("share_preview", {"preview": "feature", "hours": 1}),
        ("reset_preview", {"preview": "feature"}),
        ("kill_preview", {"preview": "feature"}),
    ]


async def by_python(stager: StagerUnderTest, calls: Calls) -> tuple[set[str], list[Any]]:
    """The tools, and the results of calls."""
    headers = {"authorization": token_of(stager)}
    async with httpx2.AsyncClient(headers=headers, trust_env=False, timeout=60) as http:
        stream = streamable_http_client(f"{stager.url}/mcp", http_client=http)
        async with Client(stream) as client:
            tools = {tool.name for tool in (await client.list_tools()).tools}
            results = [await client.call_tool(name, arguments) for name, arguments in calls]
    texts = [
        content.text for result in results for content in result.content if isinstance(content, TextContent)
    ]
    return tools, [json.loads(text) for text in texts]


def by_typescript(sdk: Path, stager: StagerUnderTest, calls: Calls) -> tuple[set[str], list[Any]]:
    """The same by the other SDK."""
    command = ["node", str(CLIENT), str(sdk), f"{stager.url}/mcp", token_of(stager)]
    done = subprocess.run(
        command, input=json.dumps(calls), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    return set(said["tools"]), [json.loads(each["content"][0]["text"]) for each in said["results"]]


def check(tools: Iterable[str], results: list[Any]) -> None:
    """What both clients must see."""
    assert {name for name, _ in every_tool()} == set(tools)
    launched, waited, listed, shown, failure, logs, why, command, shared, reset, killed = results
    assert launched["name"] == "feature"
    assert (waited["settled"], waited["live"]) == (True, True)
    assert [each["id"] for each in listed["previews"]] == [launched["id"]]
    assert shown["state"] == "live"
    assert failure["failure"] is None
    assert "lines" in logs
    assert why["code"]
    assert (command["exit_code"], command["output"]) == (3, "hello\n")
    assert shared["url"].startswith(shown["url"])
    assert reset["generation"] > shown["generation"]
    assert killed["id"] == launched["id"]


async def test_the_python_sdk_calls_every_tool(stager: StagerUnderTest) -> None:
    check(*await by_python(stager, every_tool()))


def test_the_typescript_sdk_calls_every_tool(stager: StagerUnderTest, typescript_sdk: Path) -> None:
    check(*by_typescript(typescript_sdk, stager, every_tool()))


def test_the_page_of_coding_agents(stager: StagerUnderTest, tmp_path: Path) -> None:
    """Its commands, as written, with the password of a person: the written file and token are accepted."""
    (tmp_path / "shop").mkdir()
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "STAGER_ENDPOINT": stager.url,
        "STAGER_USERNAME": USER,
        "STAGER_PASSWORD": PASSWORD,
    }

    def typed(sample: str) -> str:
        return subprocess.run(
            sample, shell=True, cwd=tmp_path / "shop", env=environ, capture_output=True, text=True, check=True
        ).stdout

    token = re.search(
        r"stager_[\w-]{20,}", typed(page_sample("coding-agents.md", "stager token create agent"))
    )
    assert token
    typed(page_sample("coding-agents.md", "stager init --mcp"))
    entry = json.loads((tmp_path / "shop" / ".mcp.json").read_text())["mcpServers"]["stager"]
    headers = {
        **{name: value.replace("${STAGER_TOKEN}", token[0]) for name, value in entry["headers"].items()},
        "Accept": "application/json, text/event-stream",
    }
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    answer = httpx.post(entry["url"], json=asked, headers=headers, trust_env=False)
    assert "launch_preview" in answer.text
