"""Carries out commands in pull-request comments, for people with push access.

The answer is a reaction to the comment and, where there is more to say, a note in Stager's own comment.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from stager.control.environments.package import Environments
from stager.control.environments.records import Note, previews_of, save_note
from stager.control.forges import Forges
from stager.control.identity.audit import Audit
from stager.control.pull_requests.inbox import Deduplication
from stager.control.pull_requests.repositories import application_of, why_not
from stager.domain.application import Applications
from stager.domain.environment import Environment, EnvironmentKey
from stager.domain.errors import Refused, Retry, StagerError, sentences
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role
from stager.domain.pull_requests.comment_command import (
    ABOUT,
    PREFIX,
    CommentCommand,
    Verb,
    first_line,
    parse_command,
)
from stager.domain.pull_requests.events import CommentAdded
from stager.ports.forge import Forge, Reaction
from stager.ports.store import Store, Transaction

log = structlog.get_logger(__name__)

BY = "comment"
LOG_LINES = 30


@dataclass(frozen=True, slots=True)
class _Answer:
    """The answer to a comment.

    Args:
        outcome: for the record of its delivery.
        is_final: whether a repeated delivery of the comment is ignored.
    """

    reaction: Reaction
    outcome: str
    note: Note | None = None
    is_final: bool = True


class CommentCommands:
    """Carries out each comment's command once."""

    def __init__(
        self,
        store: Store,
        forges: Forges,
        applications: Applications,
        environments: Environments,
        *,
        audit: Audit,
        once: Deduplication,
    ) -> None:
        self._audit = audit
        self._once = once
        self._store = store
        self._forges = forges
        self._applications = applications
        self._commands, self._queries = environments.commands, environments.queries
        self._rollback, self._mask = environments.rollback, environments.mask
        self._power = environments.power
        self._change_feed = environments.change_feed

    async def run(self, event: CommentAdded) -> str:
        """Carry out a comment's command and answer it. Returns the outcome of the delivery."""
        command, forge = parse_command(event.text), self._forges.of(event.repository.id)
        is_ours, environment = await self._store.read(lambda tx: self._find(tx, event))
        if command is None or forge is None:
            return "ignored: not a command for Stager"
        if not is_ours:
            return await self._store.read(lambda tx: why_not(tx, self._applications, event.repository))
        if repeated := await self._once.repeated(event):
            return f"ignored: {repeated}"
        if environment is None:
            await self._store.write(lambda tx: self._once.remember(tx, event))
            await self._react(forge, event, "confused")
            return "ignored: this pull request has no preview"
        answer = await self._answer(forge, event, command, environment)
        await self._store.write(lambda tx: self._save(tx, event, environment.id, answer))
        await self._react(forge, event, answer.reaction)
        self._change_feed.changed(environment.id)
        return answer.outcome

    def _find(self, tx: Transaction, event: CommentAdded) -> tuple[bool, Environment | None]:
        """Whether the repository belongs to an application, or did, and the preview of the change. A preview
        of an application that is no longer configured can still be removed."""
        application = application_of(tx, self._applications, event.repository)
        if application is not None:
            key = EnvironmentKey.of_change(application.name, event.repository.id, event.number)
            if (found := tx.environment_by_key(key)) is not None:
                return True, found
        former = previews_of(tx, event.repository, event.number)
        return application is not None or bool(former), former[0] if former else None

    def _save(self, tx: Transaction, event: CommentAdded, environment_id: str, answer: _Answer) -> None:
        save_note(tx, environment_id, answer.note)
        if answer.is_final:
            self._once.remember(tx, event)

    async def _answer(
        self, forge: Forge, event: CommentAdded, command: CommentCommand, environment: Environment
    ) -> _Answer:
        try:
            access = await forge.people.access(event.repository, event.author)
        except Retry as error:
            advice = Note(sentences(error.message, "Repeat the command when the forge answers again."))
            outcome = "postponed: the author's access couldn't be checked"
            return _Answer("confused", outcome, advice, is_final=False)
        if not access.may_push:
            self._audit.refused(
                Actor(event.author, BY),
                command.verb.value if command.verb else BY,
                app=environment.app,
                subject=f"{environment.name} ({environment.id})",
                reason="no-push-access",
            )
            refusal = Note(f"{event.author or 'The author'} needs push access for this command.")
            return _Answer("-1", "refused: no push access", refusal)
        if command.verb is None:
            text = sentences(f'Unknown command "{command.word}".', command.hint)
            return _Answer("confused", "unknown command", _help(text))
        try:
            note = await self._execute(command.verb, event, environment)
        except StagerError as error:
            return _Answer("-1", f"{error.kind}: {error.message}", Note(sentences(error.message, error.hint)))
        log.info("comment_command", verb=command.verb, environment=environment.id, author=event.author)
        return _Answer(_reaction(command.verb), f"done: {command.verb}", note)

    async def _execute(  # noqa: C901 (one case a command)
        self, verb: Verb, event: CommentAdded, environment: Environment
    ) -> Note | None:
        actor, commands = Actor(event.author, BY, role=Role.DEVELOPER), self._commands
        match verb:
            case Verb.LAUNCH:
                await commands.override_policy(environment.id, actor)
            case Verb.REDEPLOY:
                await commands.redeploy(environment.id, actor)
            case Verb.RESET:
                await commands.reset(environment.id, actor)
            case Verb.ROLLBACK:
                return await self._roll_back(event, environment, actor)
            case Verb.KILL:
                await commands.kill_by_id(environment.id, actor)
            case Verb.SLEEP:
                await self._power.sleep_by(environment.id, actor)
            case Verb.WAKE:
                await self._power.wake_by(environment.id, actor)
            case Verb.APPROVE:
                await commands.approve(environment.id, _commit_in(event.text, environment), actor)
            case Verb.PIN | Verb.EXTEND:
                return await self._keep(verb, environment, actor)
            case Verb.LOGS:
                return await self._logs(environment, actor)
            case Verb.HELP:
                return _help("Commands, for people with push access:")
        return None

    async def _keep(self, verb: Verb, environment: Environment, actor: Actor) -> Note:
        if verb is Verb.PIN:
            await self._commands.pin(environment.id, actor)
            return Note("The preview is pinned: it doesn't expire, and isn't evicted in favour of another.")
        await self._commands.extend(environment.id, actor)
        return Note("The preview counts as used now.")

    async def _logs(self, environment: Environment, actor: Actor) -> Note:
        """The last lines, without secrets: everybody who sees the pull request can read them."""
        lines = await self._queries.log_of(environment.id, LOG_LINES, actor)
        text = await self._mask(environment, "\n".join(lines))
        return Note("Last lines of the log:" if text else "The log is empty.", tuple(text.splitlines()))

    async def _roll_back(self, event: CommentAdded, environment: Environment, actor: Actor) -> Note:
        done = await self._rollback.roll_back(environment.id, actor, _second_word(event.text))
        return Note(sentences(f"The preview is rolled back to {done.revision}.", done.data))

    @staticmethod
    async def _react(forge: Forge, event: CommentAdded, reaction: Reaction) -> None:
        try:
            await forge.announcements.react(event.repository, event.comment, reaction)
        except StagerError as error:
            log.warning("reaction_failed", reason=error.reason, error=error.message)


_LAUNCHING = frozenset({Verb.LAUNCH, Verb.REDEPLOY, Verb.RESET, Verb.ROLLBACK, Verb.APPROVE})


def _reaction(verb: Verb) -> Reaction:
    return "rocket" if verb in _LAUNCHING else "+1"


def _commit_in(text: str, environment: Environment) -> str:
    """The commit that an approval names. Without it, Stager can't know which commit the author has read."""
    if not (sha := _second_word(text)):
        raise Refused(
            "The approval doesn't name a commit.",
            hint="After reading the commit that waits for approval, comment "
            f"`{PREFIX} {Verb.APPROVE} {environment.desired.revision.sha}`.",
            reason="commit-unnamed",
        )
    return sha


def _second_word(text: str) -> str:
    """The word after the command; empty if there is none."""
    return next(iter(first_line(text).split()[2:]), "")


def _help(text: str) -> Note:
    return Note(text, tuple(f"{PREFIX} {verb.value:<9} {about}" for verb, about in ABOUT.items()))
