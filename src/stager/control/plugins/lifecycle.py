"""Lifecycle hooks: calls the pre-launch, post-launch and pre-kill handlers.

A pre-launch handler may stop a launch. Failures of the others are shown to people as notes. Completed calls
are stored, so that a restart neither skips nor repeats them; a call that a restart interrupts is repeated.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import cast

import structlog

from stager.control.plugins.invoker import Invoker
from stager.control.routing.urls import Urls
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment
from stager.domain.errors import Fault, StagerError
from stager.domain.service_status import ServiceStatus, service_statuses
from stager.ports.handlers import (
    PostLaunchHandler,
    PreKillHandler,
    PreLaunchHandler,
    Preview,
    PreviewService,
)
from stager.ports.store import StateKind, Store, Transaction

log = structlog.get_logger(__name__)

MAX_NOTES = 20
"""Notes about listeners that are kept for one generation: each event may add one."""

Amend = Callable[[Mapping[str, str]], dict[str, str]]


@dataclass(frozen=True, slots=True)
class CompletedCalls:
    """Which handlers have been called for one generation of an environment.

    Args:
        launched: whether post-launch handlers have been called.
        killing: whether pre-kill handlers have been called.
        notes: their failures, a sentence each.
        decided: the generation that `listener_notes` are about: the desired one.
        listener_notes: failures of event listeners.
    """

    generation: int
    launched: bool = False
    killing: bool = False
    notes: tuple[str, ...] = ()
    decided: int = 0
    listener_notes: tuple[str, ...] = ()


def completed_calls(tx: Transaction, environment_id: str, generation: int) -> CompletedCalls:
    """The calls for this generation. Those of earlier generations are not kept."""
    text = tx.environment_state(environment_id, StateKind.HANDLERS)
    found = CompletedCalls(**json.loads(text)) if text else CompletedCalls(0)
    found = replace(found, notes=tuple(found.notes), listener_notes=tuple(found.listener_notes))
    if found.generation == generation:
        return found
    return CompletedCalls(generation, decided=found.decided, listener_notes=found.listener_notes)


def notes_of(tx: Transaction, environment_id: str, generation: int) -> tuple[str, ...]:
    """The failures of handlers and listeners for this generation, a sentence each."""
    calls = completed_calls(tx, environment_id, generation)
    return (*(calls.listener_notes if calls.decided == generation else ()), *calls.notes)


def add_notes(tx: Transaction, environment: Environment, notes: Sequence[str]) -> bool:
    """Add failures of listeners to the desired generation's notes. Returns whether any of them is new."""
    desired = environment.desired.generation
    text = tx.environment_state(environment.id, StateKind.HANDLERS)
    calls = completed_calls(tx, environment.id, json.loads(text)["generation"] if text else 0)
    known = calls.listener_notes if calls.decided == desired else ()
    added = [note for note in notes if note not in known][: MAX_NOTES - len(known)]
    if added:
        calls = replace(calls, decided=desired, listener_notes=(*known, *added))
        tx.save_environment_state(environment.id, StateKind.HANDLERS, json.dumps(asdict(calls)))
    return bool(added)


class Lifecycle:
    """Calls the configured handlers, in the configuration's order."""

    def __init__(
        self,
        store: Store,
        urls: Urls,
        invoker: Invoker,
        *,
        pre_launch: Sequence[PreLaunchHandler] = (),
        post_launch: Sequence[PostLaunchHandler] = (),
        pre_kill: Sequence[PreKillHandler] = (),
    ) -> None:
        self._store = store
        self._urls = urls
        self._invoker = invoker
        self._pre_launch = pre_launch
        self._post_launch = post_launch
        self._pre_kill = pre_kill

    async def prepare(
        self, environment: Environment, deployment: Deployment, variables: Amend
    ) -> dict[str, str]:
        """Call pre-launch handlers. Returns the variables that they set for the new instance.

        Args:
            variables: merges variables of handlers into those of the instance.

        Raises:
            StagerError: a handler refuses the launch, or has failed.
        """
        preview = replace(preview_of(environment, deployment, self._urls), services=())
        added: dict[str, str] = {}
        for handler in self._pre_launch:
            answer = await self._invoker.ask(handler, "prepare", preview, variables(added))
            added |= _checked(handler, answer)
        return added

    async def launched(self, environment_id: str) -> None:
        """Call post-launch handlers, unless they have been called for the deployment that serves."""
        try:
            await self._launched(environment_id)
        except StagerError as error:
            log.warning(
                "post_launch_failed", environment=environment_id, reason=error.reason, error=error.message
            )
        except Exception:
            log.exception("post_launch_failed", environment=environment_id)

    async def _launched(self, environment_id: str) -> None:
        found = await self._store.read(lambda tx: _newly_serving(tx, environment_id))
        if found is not None:
            preview = preview_of(*found, self._urls)
            calls = [lambda h=h: self._invoker.tell(h, "launched", preview) for h in self._post_launch]
            notes = await _in_turn(calls)
            await self._save(preview, lambda calls: replace(calls, launched=True), notes)
            if calls:
                log.info("post_launch_done", environment=environment_id, generation=preview.generation)

    async def killing(self, environment: Environment, deployment: Deployment | None) -> None:
        """Call pre-kill handlers and wait for them, unless that has been done."""
        if not self._pre_kill:
            return
        preview = preview_of(environment, deployment, self._urls)
        done = await self._store.read(lambda tx: completed_calls(tx, environment.id, preview.generation))
        if done.killing:
            return
        calls = [lambda h=h: self._invoker.tell(h, "killing", preview) for h in self._pre_kill]
        notes = await _in_turn(calls)
        await self._save(preview, lambda calls: replace(calls, killing=True), notes)

    async def _save(
        self, preview: Preview, change: Callable[[CompletedCalls], CompletedCalls], notes: Sequence[str]
    ) -> None:
        def work(tx: Transaction) -> None:
            calls = change(completed_calls(tx, preview.id, preview.generation))
            text = json.dumps(asdict(replace(calls, notes=(*calls.notes, *notes))))
            tx.save_environment_state(preview.id, StateKind.HANDLERS, text)

        await self._store.write(work)


async def _in_turn(calls: Sequence[Callable[[], Awaitable[str]]]) -> list[str]:
    return [note for call in calls if (note := await call())]


def _newly_serving(tx: Transaction, environment_id: str) -> tuple[Environment, Deployment] | None:
    environment = tx.environment(environment_id)
    if environment is None or environment.serving is None or not environment.desired.keeps_instances:
        return None
    deployment = tx.deployment_of(environment_id, environment.serving)
    # An adopted deployment has no start time; its handlers were called before the database was lost.
    if deployment is None or deployment.starting_at is None:
        return None
    known = completed_calls(tx, environment_id, environment.serving).launched
    return None if known else (environment, deployment)


def _checked(handler: PreLaunchHandler, answer: object) -> Mapping[str, str]:
    if answer is None:
        return {}
    fits = isinstance(answer, Mapping) and all(isinstance(t, str) for pair in answer.items() for t in pair)
    if not fits:
        raise Fault(
            f"The handler {type(handler).__name__} failed: `prepare` didn't return variables.",
            hint="It must return a mapping of strings to strings, or None.",
            reason="handler-failed",
        )
    return cast("Mapping[str, str]", answer)


def preview_of(environment: Environment, deployment: Deployment | None, urls: Urls) -> Preview:
    """The plugin API's value for an environment at this deployment."""
    desired = environment.desired
    return Preview(
        id=environment.id,
        image_name=environment.app,
        container_name=environment.name,
        url=urls.url(environment.host),
        generation=deployment.generation if deployment else desired.generation,
        revision=deployment.revision if deployment else desired.revision,
        trust=desired.trust,
        change=environment.change,
        parameters=desired.parameters,
        started_at=deployment.starting_at if deployment else None,
        services=tuple(
            _service_of(environment, status, urls)
            for status in (service_statuses(environment, deployment) if deployment else ())
        ),
    )


def _service_of(environment: Environment, status: ServiceStatus, urls: Urls) -> PreviewService:
    service = status.service
    host = service.host_in(environment)
    return PreviewService(
        service.name, status.state, host, urls.url(host) if host else "", is_main=service.is_main
    )
