"""The access matrix: every role, every action, every surface by which it can be asked for. Each cell is
asserted; what a surface offers and this page doesn't list fails a test."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from pkgutil import walk_packages

import httpx
import pytest
from fastapi.routing import APIRoute, APIRouter, APIWebSocketRoute
from starlette.types import Message

import stager.web
from stager.control.identity.authorizer import Roles
from stager.domain.commands import Launch
from stager.domain.identity.accounts import ShareLink
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action, Role, may
from stager.domain.pull_requests.comment_command import Verb
from stager.domain.pull_requests.events import Call, ChangeEvent, Delivery
from stager.domain.snapshot import Snapshot, SnapshotState, SnapshotVolume
from stager.domain.source import Access
from stager.ports.handlers import EventListener
from stager.testing.fakes.setup import CODE
from tests.unit.control.data.test_snapshots import DataHarness, shop
from tests.unit.control.harness import SHOP, Harness
from tests.unit.web.harness import HOST, WebHarness, basic, web

ROLES = (None, *Role)
"""None is a client without credentials."""
MODULES = [import_module(module.name) for module in walk_packages(stager.web.__path__, "stager.web.")]
ROUTERS = [module.router for module in MODULES if isinstance(getattr(module, "router", None), APIRouter)]
Asked = Callable[[WebHarness, str], Awaitable[httpx.Response]]


def asking(method: str, path: str, **how: object) -> Asked:
    async def ask(web: WebHarness, environment: str) -> httpx.Response:
        return await web.client.request(method, path.format(id=environment), **how)  # type: ignore[arg-type]

    return ask


async def come_back_from_the_forge(web: WebHarness, _: str) -> httpx.Response:
    page = await web.client.get("/setup/github")
    state = next(iter(re.findall(r"new\?state=([\w-]+)", page.text)), "")
    return await web.client.get("/setup/github/callback", params={"code": CODE, "state": state})


DELIVERY = "1b2c3d4e-0000-4000-8000-123456789abc"
BY_NAME = {"image_name": "shop", "container_name": "x"}
ID, ID_IN_PATH = "/api/v1/environments/{id}", "/api/v1/environments/{environment}"


async def withdraw_a_link(web: WebHarness, environment: str) -> httpx.Response:
    now = web.harness.running.clock.now()
    link = ShareLink("l1", environment, "ann", "", now, now + timedelta(days=1))
    await web.harness.store.write(lambda tx: tx.save_share_link(link))
    return await web.client.delete(f"{ID}/share-links/l1".format(id=environment))


OURS = {"origin": f"http://{HOST}"}
"""The header of a form on one of Stager's own pages."""
SOCKET = "WEBSOCKET"
"""The method, on this page, of a call that opens one."""


async def open_a_terminal(web: WebHarness, environment: str) -> httpx.Response:
    """The answer to a request for a terminal without input: 101, or the refusal."""
    path = f"{ID}/exec".format(id=environment)
    headers = [(name.lower(), value) for name, value in web.client.headers.raw]
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "extensions": {"websocket.http.response": {}},
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"command=true",
        "headers": headers,
        "client": ("192.0.2.1", 1234),
        "server": (HOST, 80),
        "subprotocols": [],
    }
    coming: list[Message] = [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000}]
    answered: list[int] = []

    async def receive() -> Message:
        return coming.pop(0)

    async def send(message: Message) -> None:
        if message["type"] == "websocket.accept":
            answered.append(101)
        elif message["type"] == "websocket.http.response.start":
            answered.append(message["status"])

    await web.app(scope, receive, send)
    [status] = answered
    return httpx.Response(status)


def with_account(method: str, path: str) -> Asked:
    """A request about a session or token of vera's."""

    async def ask(web: WebHarness, _: str) -> httpx.Response:
        vera, identity = Actor("vera", "Basic", strategy="Basic"), web.harness.running.control_plane.identity
        session, _secret = await identity.sessions.start(vera, "")
        token, _secret = await identity.tokens.create(vera, "CI", Role.VIEWER, None, timedelta(days=1))
        return await web.client.request(method, path.format(session=session.id, token=token.id), headers=OURS)

    return ask


SNAPSHOT, IN_PATH = "/api/v1/snapshots/s1", "/api/v1/snapshots/{snapshot}"
RESTORE = "/api/v1/snapshots/restore"


async def ask_for_a_snapshot(web: WebHarness, environment: str) -> httpx.Response:
    return await web.client.post("/api/v1/snapshots", json={"app": "shop", "preview": environment})


SURFACES: dict[tuple[str, str], tuple[Action, Asked]] = {
    ("POST", "/launch"): (Action.LAUNCH, asking("POST", "/launch", data={**BY_NAME, "wait": "0"})),
    ("POST", "/kill"): (Action.KILL, asking("POST", "/kill", data={**BY_NAME, "wait": "0"})),
    ("POST", "/api/v1/environments"): (Action.LAUNCH, asking("POST", "/api/v1/environments", json=BY_NAME)),
    ("GET", "/api/v1/environments/{environment}"): (Action.SEE, asking("GET", ID)),
    ("DELETE", "/api/v1/environments/{environment}"): (Action.KILL, asking("DELETE", ID)),
    ("POST", "/api/v1/environments/{environment}/redeploy"): (
        Action.REDEPLOY,
        asking("POST", ID + "/redeploy"),
    ),
    ("POST", f"{ID_IN_PATH}/pin"): (Action.KEEP, asking("POST", f"{ID}/pin")),
    ("POST", f"{ID_IN_PATH}/extend"): (Action.KEEP, asking("POST", f"{ID}/extend")),
    ("POST", "/previews/{environment}/pin"): (
        Action.KEEP,
        asking("POST", "/previews/{id}/pin", headers=OURS),
    ),
    ("POST", "/previews/{environment}/extend"): (
        Action.KEEP,
        asking("POST", "/previews/{id}/extend", headers=OURS),
    ),
    ("POST", f"{ID_IN_PATH}/rollback"): (Action.ROLL_BACK, asking("POST", f"{ID}/rollback", json={})),
    ("POST", "/previews/{environment}/rollback"): (
        Action.ROLL_BACK,
        asking("POST", "/previews/{id}/rollback", headers=OURS),
    ),
    ("POST", "/api/v1/environments/{environment}/approve"): (
        Action.APPROVE,
        asking("POST", ID + "/approve", json={"sha": "0123456789" * 4}),
    ),
    ("GET", "/api/v1/environments/{environment}/deployments"): (
        Action.SEE,
        asking("GET", ID + "/deployments"),
    ),
    ("GET", "/api/v1/environments/{environment}/log"): (Action.READ_LOGS, asking("GET", ID + "/log")),
    ("GET", "/api/v1/environments/{environment}/build-log"): (
        Action.READ_LOGS,
        asking("GET", ID + "/build-log"),
    ),
    ("GET", "/api/v1/environments/{environment}/volumes"): (Action.READ_LOGS, asking("GET", ID + "/volumes")),
    ("GET", "/previews/{environment}"): (Action.SEE, asking("GET", "/previews/{id}")),
    ("GET", "/previews/{environment}/qr.svg"): (Action.SEE, asking("GET", "/previews/{id}/qr.svg")),
    ("GET", "/dashboard/machine"): (Action.SET_UP, asking("GET", "/dashboard/machine")),
    ("POST", "/previews/{environment}/redeploy"): (
        Action.REDEPLOY,
        asking("POST", "/previews/{id}/redeploy", headers=OURS),
    ),
    ("POST", "/previews/{environment}/remove"): (
        Action.KILL,
        asking("POST", "/previews/{id}/remove", headers=OURS),
    ),
    ("GET", "/api/v1/audit"): (Action.READ_AUDIT, asking("GET", "/api/v1/audit")),
    ("GET", "/api/v1/applications/{app}/target"): (
        Action.LAUNCH,
        asking("GET", "/api/v1/applications/shop/target?name=x"),
    ),
    ("GET", "/api/v1/applications/{app}/changes"): (
        Action.LAUNCH,
        asking("GET", "/api/v1/applications/shop/changes"),
    ),
    ("GET", "/audit"): (Action.READ_AUDIT, asking("GET", "/audit")),
    ("GET", "/settings"): (Action.READ_SETTINGS, asking("GET", "/settings")),
    ("GET", "/api/v1/settings"): (Action.READ_SETTINGS, asking("GET", "/api/v1/settings")),
    ("GET", "/people"): (Action.MANAGE_PEOPLE, asking("GET", "/people")),
    ("GET", "/api/v1/people"): (Action.MANAGE_PEOPLE, asking("GET", "/api/v1/people")),
    ("DELETE", "/api/v1/people/sessions"): (
        Action.MANAGE_PEOPLE,
        asking("DELETE", "/api/v1/people/sessions?strategy=BasicAuthentication&name=vera"),
    ),
    ("DELETE", "/api/v1/people/sessions/{session}"): (
        Action.MANAGE_PEOPLE,
        with_account("DELETE", "/api/v1/people/sessions/{session}"),
    ),
    ("POST", "/people/sessions/end"): (
        Action.MANAGE_PEOPLE,
        asking("POST", "/people/sessions/end", headers=OURS),
    ),
    ("POST", "/people/sessions/{session}/end"): (
        Action.MANAGE_PEOPLE,
        with_account("POST", "/people/sessions/{session}/end"),
    ),
    ("POST", "/people/tokens/{token}/revoke"): (
        Action.MANAGE_PEOPLE,
        with_account("POST", "/people/tokens/{token}/revoke"),
    ),
    ("GET", "/api/v1/garbage"): (Action.COLLECT_GARBAGE, asking("GET", "/api/v1/garbage")),
    ("DELETE", "/api/v1/garbage"): (Action.COLLECT_GARBAGE, asking("DELETE", "/api/v1/garbage")),
    ("GET", "/api/v1/deliveries"): (Action.READ_DELIVERIES, asking("GET", "/api/v1/deliveries")),
    ("GET", "/deliveries"): (Action.READ_DELIVERIES, asking("GET", "/deliveries")),
    ("GET", "/api/v1/deliveries/{delivery}"): (
        Action.READ_DELIVERIES,
        asking("GET", f"/api/v1/deliveries/{DELIVERY}"),
    ),
    ("GET", "/deliveries/{delivery}"): (Action.READ_DELIVERIES, asking("GET", f"/deliveries/{DELIVERY}")),
    ("POST", "/api/v1/deliveries/{delivery}/replay"): (
        Action.REPLAY_DELIVERIES,
        asking("POST", f"/api/v1/deliveries/{DELIVERY}/replay"),
    ),
    ("POST", "/deliveries/{delivery}/replay"): (
        Action.REPLAY_DELIVERIES,
        asking("POST", f"/deliveries/{DELIVERY}/replay", headers=OURS),
    ),
    ("GET", "/api/v1/doctor"): (Action.SET_UP, asking("GET", "/api/v1/doctor")),
    ("GET", "/metrics"): (
        Action.READ_METRICS,
        asking("GET", "/metrics", headers={"x-forwarded-for": "198.51.100.9"}),
    ),
    ("GET", f"{ID_IN_PATH}/pictures"): (Action.SEE, asking("GET", ID + "/pictures")),
    ("GET", "/previews/{environment}/thumbnail/{key}.jpg"): (
        Action.SEE,
        asking("GET", "/previews/{id}/thumbnail/0.jpg"),
    ),
    ("GET", ID_IN_PATH + "/pictures/{key}.png"): (Action.SEE, asking("GET", ID + "/pictures/0.png")),
    ("GET", f"{ID_IN_PATH}/share-links"): (Action.SHARE, asking("GET", ID + "/share-links")),
    ("POST", f"{ID_IN_PATH}/share-links"): (Action.SHARE, asking("POST", ID + "/share-links", json={})),
    ("DELETE", ID_IN_PATH + "/share-links/{link}"): (Action.SHARE, withdraw_a_link),
    (SOCKET, f"{ID_IN_PATH}/exec"): (Action.EXEC, open_a_terminal),
    ("GET", "/setup"): (Action.SET_UP, asking("GET", "/setup")),
    ("GET", "/setup/application"): (Action.SET_UP, asking("GET", "/setup/application")),
    ("POST", "/setup/application"): (Action.SET_UP, asking("POST", "/setup/application", headers=OURS)),
    ("GET", "/setup/application/{name}"): (Action.SET_UP, asking("GET", "/setup/application/shop")),
    ("POST", "/setup/application/{name}/launch"): (
        Action.SET_UP,
        asking("POST", "/setup/application/shop/launch", headers=OURS),
    ),
    ("GET", "/setup/github"): (Action.SET_UP, asking("GET", "/setup/github")),
    ("GET", "/setup/github/callback"): (Action.SET_UP, come_back_from_the_forge),
    ("GET", IN_PATH): (Action.SEE, asking("GET", SNAPSHOT)),
    ("POST", "/api/v1/snapshots"): (Action.MANAGE_SNAPSHOTS, ask_for_a_snapshot),
    ("POST", RESTORE): (
        Action.MANAGE_SNAPSHOTS,
        asking(
            "POST",
            f"{RESTORE}?app=shop",
            content=b"SELECT 1;",  # of no known type: 415
        ),
    ),
    ("POST", f"{IN_PATH}/use"): (Action.MANAGE_SNAPSHOTS, asking("POST", f"{SNAPSHOT}/use")),
    ("DELETE", f"{IN_PATH}/use"): (Action.MANAGE_SNAPSHOTS, asking("DELETE", f"{SNAPSHOT}/use")),
    ("DELETE", IN_PATH): (Action.MANAGE_SNAPSHOTS, asking("DELETE", SNAPSHOT)),
    ("GET", f"{IN_PATH}/volumes/{{volume}}"): (
        Action.DOWNLOAD_SNAPSHOT,
        asking("GET", f"{SNAPSHOT}/volumes/data"),
    ),
    ("GET", f"{ID_IN_PATH}/data"): (Action.SEE, asking("GET", f"{ID}/data")),
    ("POST", f"{ID_IN_PATH}/reset"): (Action.RESET, asking("POST", f"{ID}/reset")),
    ("POST", "/previews/{environment}/reset"): (
        Action.RESET,
        asking("POST", "/previews/{id}/reset", headers=OURS),
    ),
    ("POST", f"{ID_IN_PATH}/sleep"): (Action.SLEEP, asking("POST", f"{ID}/sleep")),
    ("POST", f"{ID_IN_PATH}/wake"): (Action.WAKE, asking("POST", f"{ID}/wake")),
    ("POST", "/previews/{environment}/sleep"): (
        Action.SLEEP,
        asking("POST", "/previews/{id}/sleep", headers=OURS),
    ),
    ("POST", "/previews/{environment}/wake"): (
        Action.WAKE,
        asking("POST", "/previews/{id}/wake", headers=OURS),
    ),
    ("POST", "/previews/{environment}/approve"): (
        Action.APPROVE,
        asking("POST", "/previews/{id}/approve", headers=OURS, data={"sha": "1" * 40}),
    ),
    ("POST", "/previews/{environment}/share"): (
        Action.SHARE,
        asking("POST", "/previews/{id}/share", headers=OURS),
    ),
    ("GET", "/previews/{environment}/build-log/events"): (
        Action.READ_LOGS,
        asking("GET", "/previews/{id}/build-log/events"),
    ),
    ("POST", "/event_receiver"): (Action.LAUNCH, asking("POST", "/event_receiver", data={"action": "go"})),
}
"""What each call takes."""

FOR_WHOEVER_IS_KNOWN = {
    ("GET", "/api/v1/environments"),  # says only what they may see: see below
    ("GET", "/api/v1/capacity"),  # likewise: see test_listing.py
    ("GET", "/api/v1/snapshots"),  # the same
    ("GET", "/api/v1/whoami"),
    ("GET", "/api/v1/why"),  # by what they may see: test_why.py
    ("GET", "/why"),
    ("DELETE", "/api/v1/session"),  # one's own
    ("GET", "/api/v1/tokens"),  # one's own
    ("POST", "/api/v1/tokens"),
    ("DELETE", "/api/v1/tokens/{token}"),
    ("GET", "/account"),  # one's own
    ("GET", "/new"),  # offers only what they may launch: see test_launching.py
}
STREAMS = {
    ("GET", "/dashboard/events"),  # test_dashboard.py
    ("GET", "/previews/{environment}/log/events"),  # test_log_streams.py
}
BY_FORM = {
    ("POST", "/account/sessions/{session}/end"),  # from our own pages only: test_signing_in_attacks.py
    ("POST", "/account/sessions/end"),
    ("POST", "/account/tokens"),
    ("POST", "/account/tokens/{token}/revoke"),
    ("POST", "/new"),  # test_launching.py
    ("POST", "/login"),
    ("POST", "/login/authorize"),
    ("POST", "/login/link"),  # test_login_link.py
    ("POST", "/logout"),
}
FOR_EVERYBODY = {
    ("GET", "/"),  # names no preview
    ("GET", "/preview-access"),  # test_sharing.py and tests/integration/test_private.py have these
    ("POST", "/preview-access"),
    ("GET", "/preview-access/sign-in"),
    ("GET", "/login"),  # these sign in
    ("GET", "/login/link"),
    ("POST", "/control/login-link"),  # on the control socket only: test_login_link.py
    ("GET", "/login/{provider}"),
    ("GET", "/login/{provider}/callback"),
    ("POST", "/api/v1/login/device"),
    ("POST", "/api/v1/login/device/poll"),
    ("POST", "/webhooks/local"),  # signed by the repository's hook
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/event_receiver"),  # changes nothing; its listeners ask for credentials themselves
    ("POST", "/webhooks/{forge}"),  # signed by the forge
    ("GET", "/pictures/{link}.png"),  # signed by Stager: test_picture_files.py
}


class Go(EventListener):
    """Launches on a call."""

    actions = ("go",)

    async def handle(self, event: ChangeEvent | Call) -> Launch | None:
        return Launch("shop", "x", {"wait": "0"}) if isinstance(event, Call) else None


async def save_snapshot(harness: Harness) -> None:
    """Save a snapshot of the application, with its files."""
    snapshot = Snapshot(
        "s1",
        "shop",
        1,
        SnapshotState.READY,
        harness.running.clock.now(),
        "ann",
        "preview x",
        volumes=(SnapshotVolume("db", "data", 4),),
    )
    harness.engine.stored.snapshots["s1"] = {"data": {"rows": "real"}}
    await harness.store.write(lambda tx: tx.save_snapshot(snapshot))


async def save_delivery(harness: Harness) -> None:
    """Save a finished delivery with its content."""
    one, now = Delivery(DELIVERY, "github", "ping", "{}"), harness.running.clock.now()
    await harness.store.write(lambda tx: tx.add_delivery(one, now))
    await harness.store.write(lambda tx: tx.finish_delivery(one, "ignored: ping", now))


@asynccontextmanager
async def opened(role: Role | None) -> AsyncIterator[tuple[WebHarness, str]]:
    """A web harness in which ann has this role and a preview runs, with its id."""
    async with web(roles=Roles({"basic:ann": role or Role.NONE}), listeners=[Go()]) as opened:
        environment = await opened.harness.launch("x")
        await opened.harness.rest()
        if role is not None:
            opened.client.headers.update(basic())
        await save_snapshot(opened.harness)
        await save_delivery(opened.harness)
        yield opened, environment.id


@pytest.mark.parametrize("role", ROLES, ids=str)
@pytest.mark.parametrize("surface", SURFACES, ids=" ".join)
async def test_every_cell(surface: tuple[str, str], role: Role | None) -> None:
    action, ask = SURFACES[surface]
    async with opened(role) as (web, environment):
        answer = await ask(web, environment)

    if role is None:
        assert answer.status_code == 401
    elif may(role, action):
        assert answer.status_code not in {401, 403, 404, 405, 500}, answer.text
    else:
        hidden = any(part in surface[1] for part in ("{id}", "{environment}", "{snapshot}"))
        assert answer.status_code == (404 if hidden and role is Role.NONE else 403), answer.text


@pytest.mark.parametrize("role", ROLES, ids=str)
@pytest.mark.parametrize("call", sorted(FOR_WHOEVER_IS_KNOWN), ids=" ".join)
async def test_what_each_role_may_do(call: tuple[str, str], role: Role | None) -> None:
    async with opened(role) as (web, _):
        body = {"json": {"label": "CI"}} if call[0] == "POST" else {}
        answer = await web.client.request(call[0], call[1].format(token="nothing"), **body)  # type: ignore[arg-type]

    assert (answer.status_code == 401) is (role is None)
    assert answer.status_code < 500


@pytest.mark.parametrize("role", Role, ids=str)
async def test_what_may_not_be_seen_isnt_listed(role: Role) -> None:
    async with opened(role) as (web, environment):
        listed = (await web.client.get("/api/v1/environments?gone=true")).json()

    assert [each["id"] for each in listed] == ([environment] if may(role, Action.SEE) else [])


@pytest.mark.parametrize("role", Role, ids=str)
async def test_what_a_token_gives_is_in_the_same_table(role: Role) -> None:
    """Ann may do everything; her token, what it says."""
    async with opened(Role.ADMINISTRATOR) as (web, environment):
        given = role or Role.VIEWER
        new = (await web.client.post("/api/v1/tokens", json={"label": "CI", "role": str(given)})).json()
        web.client.headers["authorization"] = f"Bearer {new['token']}"
        for (_, path), (action, ask) in SURFACES.items():
            await save_snapshot(web.harness)
            refused = (await ask(web, environment)).status_code == 403
            assert refused is not may(given, action), path


def test_every_call_is_on_this_page() -> None:
    routes = [route for router in ROUTERS for route in router.routes]
    served = {
        (method, route.path)
        for route in routes
        if isinstance(route, APIRoute)
        for method in set(route.methods or ()) - {"HEAD"}
    } | {(SOCKET, route.path) for route in routes if isinstance(route, APIWebSocketRoute)}
    assert all(isinstance(route, APIRoute | APIWebSocketRoute) for route in routes)
    assert served == SURFACES.keys() | FOR_WHOEVER_IS_KNOWN | BY_FORM | FOR_EVERYBODY | STREAMS


@pytest.mark.parametrize("access", Access)
@pytest.mark.parametrize("verb", Verb)
async def test_comments(verb: Verb, access: Access) -> None:
    with_volume = replace(shop(), owner="acme")
    async with DataHarness([with_volume]).open() as harness:
        repository = harness.forge.add_repository("acme", "shop")
        harness.forge.allow(repository, "bob", access)
        event = harness.forge.open(repository, "x", "a1b2c3d4" * 5)
        await harness.deliver(event)
        await harness.rest(30)
        if verb is Verb.ROLLBACK:
            await harness.deliver(harness.forge.push(event, "b1a2c3d4" * 5))
            await harness.rest(30)
        said = harness.forge.say(event, f"/stager {verb} {'a1b2c3d4' * 5}", "bob")
        await harness.deliver(said)
        await harness.rest(30)
        [comment] = [c for c in harness.forge.comments if c.id == said.comment]

    assert ("-1" in comment.reactions) is not access.may_push


async def test_what_isnt_listed_is_denied() -> None:
    async with Harness([SHOP]).open() as harness:
        for actor in (
            Actor("eve", "nothing"),
            Actor("eve", "x", role=Role.NONE),
            Actor("eve", "x", strategy="Y"),
        ):
            for action in Action:
                assert not await harness.running.control_plane.identity.authorizer.may(actor, action, "shop")
