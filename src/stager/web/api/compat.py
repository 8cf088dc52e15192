"""The first Stager's routes, as its walkthrough uses them with curl: form parameters in, plain text out."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from stager.control.environments.commands import LaunchResult
from stager.domain.commands import Kill, Launch, Reply
from stager.domain.errors import Refused
from stager.domain.identity.actor import Actor
from stager.domain.status import status_of
from stager.web.forges.webhooks import deliveries_of
from stager.web.pages import sign_in
from stager.web.problems import fault
from stager.web.request_body import parameters_of
from stager.web.services import Known, Served, Services, actor_of, address_of

router = APIRouter(include_in_schema=False)

PRIVATE = {"Cache-Control": "no-store"}
GITHUB = "github"
"""Whose deliveries the first Stager's route takes."""


@router.post("/launch")
async def launch(request: Request, services: Served, actor: Known) -> Response:
    """Launch a preview. Answers with its URL once that works; at once, and with 202, for `wait=0`."""
    parameters = await parameters_of(request)
    wait = parameters.get("wait", "")
    command = Launch(parameters.pop("image_name", ""), parameters.pop("container_name", ""), parameters)
    return await _launched(services, command, actor, wait)


async def _launched(services: Services, command: Launch, actor: Actor, wait: str) -> Response:
    seconds = _seconds_to_wait(wait, services.start_timeout)
    environment = await services.commands.launch(command, actor)
    url = services.addresses.url(environment.host)
    if not seconds:
        return PlainTextResponse(url, 202)
    ending = await services.commands.until_settled(environment, seconds)
    _check(ending)
    return PlainTextResponse(url)


@router.post("/kill")
async def kill(request: Request, services: Served, actor: Known) -> Response:
    """Remove a preview. Answers `ok` once it is gone, also when there is none of this name; at once, and with
    202, for `wait=0`."""
    parameters = await parameters_of(request)
    command = Kill(parameters.get("image_name", ""), parameters.get("container_name", ""))
    return await _killed(services, command, actor, parameters.get("wait", ""))


async def _killed(services: Services, command: Kill, actor: Actor, wait: str) -> Response:
    seconds = _seconds_to_wait(wait, services.start_timeout)
    environment = await services.commands.kill(command, actor)
    if not seconds:
        return PlainTextResponse("ok", 202)
    if environment is not None:
        await services.commands.until_removed(environment, seconds)
    return PlainTextResponse("ok")


@router.post("/event_receiver")
async def event_receiver(request: Request, services: Served) -> Response:
    """Take a forge's delivery; or a call with `action=`, for the listener that takes it."""
    if "x-github-event" not in request.headers and "action" in await parameters_of(request):
        return await _called(request, services)
    return await _delivery(request, services, GITHUB)


@router.get("/event_receiver")
async def call(request: Request, services: Served) -> Response:
    """A call with `action=`; what no listener answers is answered with nothing. Or a browser that comes back
    from where somebody signs in, as the walkthrough has it."""
    if "action" not in request.query_params and "state" in request.query_params:
        return await sign_in.came_back(request, services)
    return await _called(request, services)


async def _called(request: Request, services: Services) -> Response:
    parameters = await parameters_of(request)
    name, wait = parameters.pop("action", ""), parameters.get("wait", "")
    if not name:
        return PlainTextResponse("")
    address = address_of(request, services.trusted)
    taken = await services.calls.answer(
        name,
        parameters,
        lambda: actor_of(request, services),
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
    if isinstance(command, Launch):
        return await _launched(services, command, actor, wait)
    return await _killed(services, command, actor, wait)


@router.post("/webhooks/{forge}")
async def webhook(request: Request, services: Served, forge: str) -> Response:
    """Take a delivery of this forge's. By the path and not by a header, because forges send each other's."""
    return await _delivery(request, services, forge)


async def _delivery(request: Request, services: Services, forge: str) -> Response:
    """Verify, record, answer. What it amounts to is worked out afterwards."""
    webhooks = services.webhooks.get(forge)
    if webhooks is None:
        raise Refused(f'There is no forge "{forge[:40]}" here.', reason="forge-unknown", status=404)
    deliveries = await deliveries_of(request, services, webhooks)
    await services.learn_domain(request)
    new = [await services.webhook_consumer.receive(delivery) for delivery in deliveries]
    return PlainTextResponse("accepted" if any(new) else "accepted before", 202)


def _seconds_to_wait(text: str, default: float) -> float:
    if not text:
        return default
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
