"""Calls the handlers of a preview's life: before its launch, after it, and before its end.

The first may stop a launch; the others are told, and what goes wrong with them is noted where people look.
That they were told is remembered, so that a restart neither forgets nor repeats it. One that Stager's own end
cuts short is told again.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import cast

import structlog

from stager.control.plugins.invoker import Invoker
from stager.control.plugins.preview import preview_of
from stager.control.routing.urls import Urls
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment
from stager.domain.errors import Fault, StagerError
from stager.ports.handlers import PostLaunchHandler, PreKillHandler, PreLaunchHandler, Preview
from stager.ports.store import StateKind, Store, Transaction

log = structlog.get_logger(__name__)

MOST_NOTES = 20
"""Sentences that are kept about listeners for one generation: each event may add one."""

Amend = Callable[[Mapping[str, str]], dict[str, str]]


@dataclass(frozen=True, slots=True)
class Told:
    """What handlers were told of one generation of an environment.

    Args:
        notes: what went wrong with them, a sentence each.
        decided: the generation that `listener_notes` are about: the desired one.
        listener_notes: what went wrong with event listeners.
    """

    generation: int
    launched: bool = False
    killing: bool = False
    notes: tuple[str, ...] = ()
    decided: int = 0
    listener_notes: tuple[str, ...] = ()


def told_of(tx: Transaction, environment_id: str, generation: int) -> Told:
    """What is remembered of this generation; it is forgotten when the next one is told of."""
    text = tx.environment_state(environment_id, StateKind.HANDLERS)
    found = Told(**json.loads(text)) if text else Told(0)
    found = replace(found, notes=tuple(found.notes), listener_notes=tuple(found.listener_notes))
    if found.generation == generation:
        return found
    return Told(generation, decided=found.decided, listener_notes=found.listener_notes)


def notes_of(tx: Transaction, environment_id: str, generation: int) -> tuple[str, ...]:
    """The failures of handlers and listeners for this generation, a sentence each."""
    told = told_of(tx, environment_id, generation)
    return (*(told.listener_notes if told.decided == generation else ()), *told.notes)


def add_notes(tx: Transaction, environment: Environment, notes: Sequence[str]) -> bool:
    """Add failures of listeners to the desired generation's notes. Returns whether any of them is new."""
    desired = environment.desired.generation
    text = tx.environment_state(environment.id, StateKind.HANDLERS)
    told = told_of(tx, environment.id, json.loads(text)["generation"] if text else 0)
    known = told.listener_notes if told.decided == desired else ()
    added = [note for note in notes if note not in known][: MOST_NOTES - len(known)]
    if added:
        told = replace(told, decided=desired, listener_notes=(*known, *added))
        tx.save_environment_state(environment.id, StateKind.HANDLERS, json.dumps(asdict(told)))
    return bool(added)


class Lifecycle:
    """The handlers that the configuration names, in its order."""

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
        """The variables that handlers set for an instance that is about to be made.

        Args:
            variables: gives all variables for those that handlers have set so far.

        Raises:
            StagerError: a handler forbids the launch, or failed at deciding.
        """
        preview = preview_of(environment, deployment, self._urls)
        amended: dict[str, str] = {}
        for handler in self._pre_launch:
            answer = await self._invoker.ask(handler, "prepare", preview, variables(amended))
            amended |= _checked(handler, answer)
        return amended

    async def launched(self, environment_id: str) -> None:
        """Tell post-launch handlers, if this environment serves and they don't know yet."""
        try:
            await self._launched(environment_id)
        except StagerError as error:
            log.warning("not_told", environment=environment_id, reason=error.reason, error=error.message)
        except Exception:
            log.exception("not_told", environment=environment_id)

    async def _launched(self, environment_id: str) -> None:
        found = await self._store.read(lambda tx: _newly_serving(tx, environment_id))
        if found is not None:
            preview = preview_of(*found, self._urls)
            calls = [lambda h=h: self._invoker.tell(h, "launched", preview) for h in self._post_launch]
            notes = await _in_turn(calls)
            await self._remember(preview, lambda told: replace(told, launched=True), notes)
            if calls:
                log.info("handlers_told", environment=environment_id, generation=preview.generation)

    async def killing(self, environment: Environment, deployment: Deployment | None) -> None:
        """Tell pre-kill handlers, if they don't know yet, and wait for them."""
        if not self._pre_kill:
            return
        preview = preview_of(environment, deployment, self._urls)
        told = await self._store.read(lambda tx: told_of(tx, environment.id, preview.generation))
        if told.killing:
            return
        calls = [lambda h=h: self._invoker.tell(h, "killing", preview) for h in self._pre_kill]
        notes = await _in_turn(calls)
        await self._remember(preview, lambda told: replace(told, killing=True), notes)

    async def _remember(self, preview: Preview, change: Callable[[Told], Told], notes: Sequence[str]) -> None:
        def work(tx: Transaction) -> None:
            told = change(told_of(tx, preview.id, preview.generation))
            text = json.dumps(asdict(replace(told, notes=(*told.notes, *notes))))
            tx.save_environment_state(preview.id, StateKind.HANDLERS, text)

        await self._store.write(work)


async def _in_turn(calls: Sequence[Callable[[], Awaitable[str]]]) -> list[str]:
    return [note for call in calls if (note := await call())]


def _newly_serving(tx: Transaction, environment_id: str) -> tuple[Environment, Deployment] | None:
    environment = tx.environment(environment_id)
    if environment is None or environment.serving is None or not environment.desired.should_run:
        return None
    deployment = tx.deployment_of(environment_id, environment.serving)
    # One that was adopted bears no stamp of a start: it isn't new to anybody.
    if deployment is None or deployment.starting_at is None:
        return None
    known = told_of(tx, environment_id, environment.serving).launched
    return None if known else (environment, deployment)


def _checked(handler: PreLaunchHandler, answer: object) -> Mapping[str, str]:
    if answer is None:
        return {}
    fits = isinstance(answer, Mapping) and all(isinstance(t, str) for pair in answer.items() for t in pair)
    if not fits:
        raise Fault(
            f"The handler {type(handler).__name__} failed: it answered with something other than variables.",
            hint="`prepare` returns a mapping of text to text, or None.",
            reason="handler-failed",
        )
    return cast("Mapping[str, str]", answer)
