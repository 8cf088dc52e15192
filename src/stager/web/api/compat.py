"""The routes of the first Stager, which its walkthrough uses with curl: form parameters, plain-text
responses."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from stager.control.control_plane import ControlPlane
from stager.control.environments.waiters import LaunchResult
from stager.domain.commands import Kill, Launch, Reply
from stager.domain.errors import Refused, Retry
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
"""The forge whose deliveries `/event_receiver` receives."""


@router.post("/launch")
async def launch(request: Request, control: Control, actor: Known) -> Response:
    """Launch a preview. Responds with its URL once it is live; for `wait=0`, immediately with 202."""
    parameters = await parameters_of(request)
    seconds = _seconds_to_wait(request, parameters.get("wait", ""))
    command = Launch(parameters.pop("image_name", ""), parameters.pop("container_name", ""), parameters)
    return await _launch(control, command, actor, seconds)


async def _launch(control: ControlPlane, command: Launch, actor: Actor, seconds: float) -> Response:
    environment = await control.environments.commands.launch(command, actor)
    url = control.routing.urls.url(environment.host)
    if not seconds:
        return PlainTextResponse(url, 202)
    result = await control.environments.waiters.until_settled(environment, seconds)
    _check(result)
    return PlainTextResponse(url)


@router.post("/kill")
async def kill(request: Request, control: Control, actor: Known) -> Response:
    """Remove a preview. Responds with `ok` once it is removed, or when there is none of this name; for
    `wait=0`, immediately with 202."""
    parameters = await parameters_of(request)
    command = Kill(parameters.get("image_name", ""), parameters.get("container_name", ""))
    seconds = _seconds_to_wait(request, parameters.get("wait", ""))
    return await _kill(control, command, actor, seconds)


async def _kill(control: ControlPlane, command: Kill, actor: Actor, seconds: float) -> Response:
    environment = await control.environments.commands.kill(command, actor)
    if not seconds:
        return PlainTextResponse("ok", 202)
    if environment is not None:
        await control.environments.waiters.until_removed(environment, seconds)
    return PlainTextResponse("ok")


@router.post("/event_receiver")
async def event_receiver(request: Request, control: Control) -> Response:
    """Receive a delivery of GitHub, or a call with `action=` for a listener."""
    if "x-github-event" not in request.headers and "action" in await parameters_of(request):
        return await _action_call(request, control)
    return await _delivery(request, control, GITHUB)


@router.get("/event_receiver")
async def call(request: Request, control: Control) -> Response:
    """Handle a call with `action=`, with an empty response if no listener handles it; or a browser's redirect
    from GitHub after signing in, as in the walkthrough."""
    if "action" not in request.query_params and "state" in request.query_params:
        return await sign_in.handle_callback(request, control)
    return await _action_call(request, control)


async def _action_call(request: Request, control: ControlPlane) -> Response:
    parameters = await parameters_of(request)
    name, wait = parameters.pop("action", ""), parameters.get("wait", "")
    if not name:
        return PlainTextResponse("")
    address = address_of(request)
    answer = await control.plugins.action_calls.answer(
        name,
        parameters,
        lambda: actor_of(request, control),
        method=request.method,
        address=address,
    )
    if answer is None:
        return PlainTextResponse("")
    command, actor = answer
    if isinstance(command, Reply):
        return Response(command.body, command.status, PRIVATE, command.media_type)
    if request.method == "GET":  # a link on any page makes a browser send a GET request with its credentials
        raise Refused(
            f"The action {name} changes something, so it must be sent with POST.",
            reason="post-needed",
            status=405,
        )
    seconds = _seconds_to_wait(request, wait)
    if isinstance(command, Launch):
        return await _launch(control, command, actor, seconds)
    return await _kill(control, command, actor, seconds)


@router.post("/webhooks/{forge}")
async def webhook(request: Request, control: Control, forge: str) -> Response:
    """Receive a delivery of this forge. The path names it, because forges also send each other's headers."""
    return await _delivery(request, control, forge)


async def _delivery(request: Request, control: ControlPlane, forge: str) -> Response:
    """Verify and record a delivery. It is processed afterwards."""
    if forge not in control.ports.webhooks:
        raise Refused(f'There is no forge "{forge[:40]}".', reason="forge-unknown", status=404)
    deliveries = await deliveries_of(request, control, forge)
    await learn_domain(request, control)
    new = [await control.pull_requests.inbox.receive(delivery) for delivery in deliveries]
    return PlainTextResponse("accepted" if any(new) else "accepted before", 202)


def _seconds_to_wait(request: Request, text: str) -> float:
    if not text:
        return web_of(request).options.start_timeout
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86_400:
        raise Refused(f'wait must be a number of seconds, not "{text[:40]}".', reason="wait-invalid")
    return seconds


def _check(result: LaunchResult) -> None:
    """Raise the error of a launch that didn't become live."""
    if result.is_live:
        return
    status = status_of(result.environment, result.deployment)
    if result.environment.desired.is_queued:
        raise Retry(status.message, hint=status.hint, reason=status.reason)
    if not result.environment.desired.should_run:
        raise Refused(status.message, hint=status.hint, reason=status.reason or "killed", status=409)
    raise fault(status.message, status.hint, status.reason, status.lines)
