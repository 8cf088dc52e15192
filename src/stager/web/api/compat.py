"""The first Stager's routes, as its walkthrough uses them with curl: form parameters in, plain text out."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from stager.control.control_plane import ControlPlane
from stager.control.environments.waiters import LaunchResult
from stager.domain.commands import Kill, Launch, Reply
from stager.domain.errors import Refused
from stager.domain.identity.actor import Actor
from stager.domain.status import status_of
from stager.web.context import Control, Known, actor_of, address_of, learn_domain, web_of
from stager.web.forges.webhooks import deliveries_of
from stager.web.pages import sign_in
from stager.web.problems import fault
from stager.web.request_body import parameters_of

router = APIRouter(include_in_schema=False)

PRIVATE = {"Cache-Control": "no-store"}
GITHUB = "github"
"""Whose deliveries the first Stager's route takes."""


@router.post("/launch")
async def launch(request: Request, control: Control, actor: Known) -> Response:
    """Launch a preview. Answers with its URL once that works; at once, and with 202, for `wait=0`."""
    parameters = await parameters_of(request)
    seconds = _seconds_to_wait(request, parameters.get("wait", ""))
    command = Launch(parameters.pop("image_name", ""), parameters.pop("container_name", ""), parameters)
    return await _launched(control, command, actor, seconds)


async def _launched(control: ControlPlane, command: Launch, actor: Actor, seconds: float) -> Response:
    environment = await control.environments.commands.launch(command, actor)
    url = control.routing.urls.url(environment.host)
    if not seconds:
        return PlainTextResponse(url, 202)
    ending = await control.environments.waiters.until_settled(environment, seconds)
    _check(ending)
    return PlainTextResponse(url)


@router.post("/kill")
async def kill(request: Request, control: Control, actor: Known) -> Response:
    """Remove a preview. Answers `ok` once it is gone, also when there is none of this name; at once, and with
    202, for `wait=0`."""
    parameters = await parameters_of(request)
    command = Kill(parameters.get("image_name", ""), parameters.get("container_name", ""))
    seconds = _seconds_to_wait(request, parameters.get("wait", ""))
    return await _killed(control, command, actor, seconds)


async def _killed(control: ControlPlane, command: Kill, actor: Actor, seconds: float) -> Response:
    environment = await control.environments.commands.kill(command, actor)
    if not seconds:
        return PlainTextResponse("ok", 202)
    if environment is not None:
        await control.environments.waiters.until_removed(environment, seconds)
    return PlainTextResponse("ok")


@router.post("/event_receiver")
async def event_receiver(request: Request, control: Control) -> Response:
    """Take a forge's delivery; or a call with `action=`, for the listener that takes it."""
    if "x-github-event" not in request.headers and "action" in await parameters_of(request):
        return await _called(request, control)
    return await _delivery(request, control, GITHUB)


@router.get("/event_receiver")
async def call(request: Request, control: Control) -> Response:
    """A call with `action=`; what no listener answers is answered with nothing. Or a browser that comes back
    from where somebody signs in, as the walkthrough has it."""
    if "action" not in request.query_params and "state" in request.query_params:
        return await sign_in.came_back(request, control)
    return await _called(request, control)


async def _called(request: Request, control: ControlPlane) -> Response:
    parameters = await parameters_of(request)
    name, wait = parameters.pop("action", ""), parameters.get("wait", "")
    if not name:
        return PlainTextResponse("")
    address = address_of(request)
    taken = await control.plugins.action_calls.answer(
        name,
        parameters,
        lambda: actor_of(request, control),
        method=request.method,
        address=address,
    )
    if taken is None:
        return PlainTextResponse("")
    command, actor = taken
    if isinstance(command, Reply):
        return Response(command.body, command.status, PRIVATE, command.media_type)
    if request.method == "GET":  # a link on anybody's page makes a browser send one, with its credentials
        raise Refused(
            f"The action {name} changes something, so it needs a POST.", reason="post-needed", status=405
        )
    seconds = _seconds_to_wait(request, wait)
    if isinstance(command, Launch):
        return await _launched(control, command, actor, seconds)
    return await _killed(control, command, actor, seconds)


@router.post("/webhooks/{forge}")
async def webhook(request: Request, control: Control, forge: str) -> Response:
    """Take a delivery of this forge's. By the path and not by a header, because forges send each other's."""
    return await _delivery(request, control, forge)


async def _delivery(request: Request, control: ControlPlane, forge: str) -> Response:
    """Verify, record, answer. What it amounts to is worked out afterwards."""
    webhooks = control.ports.webhooks.get(forge)
    if webhooks is None:
        raise Refused(f'There is no forge "{forge[:40]}" here.', reason="forge-unknown", status=404)
    deliveries = await deliveries_of(request, control, webhooks)
    await learn_domain(request, control)
    new = [await control.pull_requests.webhooks.receive(delivery) for delivery in deliveries]
    return PlainTextResponse("accepted" if any(new) else "accepted before", 202)


def _seconds_to_wait(request: Request, text: str) -> float:
    if not text:
        return web_of(request).options.start_timeout
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86_400:
        raise Refused(f'wait should be a number of seconds, not "{text[:40]}".', reason="wait-invalid")
    return seconds


def _check(ending: LaunchResult) -> None:
    """Raise what a launch that isn't live is answered with."""
    if ending.is_live:
        return
    status = status_of(ending.environment, ending.deployment)
    if not ending.environment.desired.should_run:
        raise Refused(status.message, hint=status.hint, reason=status.reason or "killed", status=409)
    raise fault(status.message, status.hint, status.reason, status.lines)
