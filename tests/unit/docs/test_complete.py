"""The lists in the documentation are complete: reasons, variables, calls, commands and so on."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

from stager.cli.reference_page import page
from stager.control.control_plane import ControlPlane
from stager.control.reconciler.variables import Launch, of_service
from stager.domain.application import Application
from stager.domain.deployment import DeployedService
from stager.domain.profile import Limits
from stager.domain.service import ServiceSpec
from stager.domain.status import State, status_of
from stager.front.http.limits import Limits as FrontLimits
from stager.front.http.request_parser import parse_request
from stager.front.http.visitors import CRAWLERS, LINK_PREVIEWS
from stager.front.proxy.error_pages import STATES, ErrorPage
from stager.front.proxy.local_responses import respond
from stager.settings.plugins.available import ROUTING, built_in
from stager.testing.example_pages import example_pages
from stager.web.api import (
    compat,
    device_login,
    diagnostics,
    environments,
    identity,
    share_links,
    snapshots,
)
from stager.web.api.views import EnvironmentView
from stager.web.app import create_app
from stager.web.auth import preview_access
from stager.web.context import WebContext
from stager.web.forges import local_push
from stager.web.pages import account, dashboard, home, launching, people, preview, settings, sign_in
from stager.web.pages.environment import actions, history, log_streams
from stager.web.pages.overview import qr
from tests.unit.docs.example import a_change, a_live_deployment, an_environment
from tests.unit.docs.pages import DOCS, ROOT, first_cells, sections
from tests.unit.docs.reasons import reasons

SOURCE = ROOT / "src" / "stager"
HTTP_API = DOCS / "reference" / "http-api.md"


def test_every_reason_has_an_entry_and_every_entry_a_reason() -> None:
    page = DOCS / "how-to" / "when-something-goes-wrong.md"
    entries = list(sections(page, "###"))
    assert len(entries) == len(set(entries))
    assert set(entries) == set(reasons(SOURCE))


def test_sleeping_previews() -> None:
    page = (DOCS / "reference" / "sleeping-previews.md").read_text("utf-8")
    rows = [
        re.findall("`([^`]+)`", line) for line in page.splitlines() if line.startswith(("| Link", "| Craw"))
    ]
    assert [names[1:] if names[0] == "User-Agent" else names for names in rows] == [
        list(LINK_PREVIEWS),
        list(CRAWLERS),
    ]
    limits = FrontLimits()
    for text in (
        f"| {limits.navigation_seconds:g} seconds |",
        f"| {limits.wake_seconds:g} seconds ",
        f"At most {limits.held_requests:,} requests and {limits.held_bytes >> 20} MiB",
    ):
        assert text in page


def test_every_variable_of_an_instance_is_described() -> None:
    application = Application("stager-demo", "stager-demo", 3000, Limits(1, 1, 1, 1), owner="your-account")
    url = "http://warm-welcome.demo.example.org"
    web = DeployedService(ServiceSpec("web", port=3000), "sha256:1", is_main=True)
    of_change, by_hand = (
        of_service(
            Launch(
                environment,
                replace(a_live_deployment(), services=(web,)),
                application,
                {"web": url},
                b"key",
            ),
            web,
        ).all
        for environment in (an_environment(a_change()), an_environment(None))
    )
    text = sections(DOCS / "reference" / "environment-variables.md")
    listed = [first_cells(text[heading]) for heading in ("Names of the first Stager", "The preview")]
    of_changes_alone = first_cells(text["The pull request"])
    assert {*listed[0], *listed[1], *of_changes_alone} == of_change.keys()
    assert by_hand.keys() == of_change.keys() - {*of_changes_alone, "pull_request_number"}


def _calls() -> set[tuple[str, str]]:
    """Method and path of each route of the web application."""
    described = create_app(cast("ControlPlane", object()), cast("WebContext", object())).openapi()["paths"]
    calls = {(method.upper(), path) for path, methods in described.items() for method in methods}
    for module in (
        diagnostics,
        account,
        launching,
        people,
        settings,
        dashboard,
        environments,
        compat,
        device_login,
        home,
        identity,
        preview,
        actions,
        history,
        log_streams,
        qr,
        local_push,
        share_links,
        snapshots,
        sign_in,
        preview_access,
    ):
        for route in module.router.routes:
            calls |= {(method, route.path) for method in route.methods - {"HEAD"}}
    return calls


def test_exactly_the_existing_calls_are_described() -> None:
    text = HTTP_API.read_text()
    described = set(re.findall(r"^(?:###|\|) `(GET|POST|DELETE|PUT|PATCH) (/[^`]*)`", text, re.MULTILINE))
    assert described == _calls()
    assert "`GET /openapi.json`" in text


def test_every_state_is_described() -> None:
    text = sections(HTTP_API)["The JSON API"]
    assert set(State) <= set(first_cells(text))


def test_every_response_of_the_front_is_described() -> None:
    text = sections(HTTP_API)["Responses of previews' hosts"]
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (\d{3}[^|]*) \|", text, re.MULTILINE))
    assert rows == {
        name: f"{page.status}{', `Retry-After`' if page.is_temporary else ''}"
        for name, page in STATES.items()
    }
    assert rows.keys() | problem_fields() == set(first_cells(text))


def problem_fields() -> set[str]:
    """The fields of the JSON document of a page that has all of them."""
    page = example_pages(datetime.now(UTC))["failed-checking"]
    shown = ErrorPage.of(replace(page, place=1), "summer-sale.example.org")
    request = parse_request(b"GET / HTTP/1.1\r\nHost: summer-sale.example.org")
    return set(json.loads(respond(shown, request, b"1", keep=True).partition(b"\r\n\r\n")[2]))


def test_every_page_of_the_front_is_described() -> None:
    text = sections(DOCS / "how-to" / "what-visitors-see.md")["The states"]
    titles = {
        title for cell in re.findall(r"^\| (\*.+?) \|", text, re.MULTILINE) for title in cell.split(", ")
    }
    expected = {page.title.replace("{name} ", "").replace("{name}", "...") for page in STATES.values()}
    assert {title.strip("*") for title in titles} == expected


def test_the_sample_of_an_environment_has_the_apis_fields() -> None:
    environment, deployment = an_environment(a_change()), a_live_deployment()
    shown = next(
        json.loads(block)
        for block in re.findall(r"```json\n(.*?)```", HTTP_API.read_text(), re.DOTALL)
        if '"generation"' in block
    )
    status, change = status_of(environment, deployment), a_change()
    answer = EnvironmentView.model_validate(shown)
    assert shown.keys() == EnvironmentView.model_fields.keys()
    assert (answer.state, answer.message, answer.serving) == (
        status.state,
        status.message,
        environment.serving,
    )
    assert (answer.created_at, answer.sha) == (environment.created_at, environment.desired.revision.sha)
    assert answer.change is not None
    assert (answer.change.number, answer.change.url) == (change.number, change.url)


def test_the_command_line_page_is_up_to_date() -> None:
    shown = (DOCS / "reference" / "cli.md").read_text("utf-8")
    assert shown == page(), "run python -m stager.cli.reference_page > docs/reference/cli.md"


def test_every_handler_is_described() -> None:
    page = DOCS / "reference" / "handlers.md"
    text = page.read_text()
    names = {plugin.name: plugin.short_name for plugin in built_in()} | dict(ROUTING)
    for name, short in names.items():
        row = next(row for row in text.splitlines() if row.startswith(f"| `{name}` |"))
        assert not short or f"| `{short}` |" in row


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["server"]]
    names = {re.split(r"[\[>=;]", requirement)[0] for requirement in wanted}
    page = DOCS / "reference" / "dependencies.md"
    assert set(first_cells(sections(page)["At run time"])) == names
