"""Does what people ask for in a pull request's comments, if they may push to its repository.

The answer is a reaction at their comment and, where there is something to say, a note in ours.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

import structlog

from stager.control.environments.lookup import previews_of
from stager.control.environments.package import Environments
from stager.control.forges import Forges
from stager.control.identity.audit import Audit
from stager.control.pull_requests.deduplication import Once
from stager.control.pull_requests.repositories import application_of, why_not
from stager.domain.application import Applications
from stager.domain.environment import Environment, EnvironmentKey
from stager.domain.errors import Refused, Retry, StagerError, sentences
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role
from stager.domain.pull_requests.comment_command import (
    ABOUT,
    ADDRESS,
    CommentCommand,
    Verb,
    first_line,
    heard,
)
from stager.domain.pull_requests.events import CommandSaid
from stager.ports.forge import Forge, Reaction
from stager.ports.store import StateKind, Store, Transaction

log = structlog.get_logger(__name__)

BY = "comment"
LOG_LINES = 30


@dataclass(frozen=True, slots=True)
class Note:
    """What our comment says besides how the preview stands.

    Args:
        lines: a piece of a log, or a list.
    """

    text: str
    lines: tuple[str, ...] = field(default_factory=tuple)


def note_of(tx: Transaction, environment: Environment) -> Note | None:
    """The newest note; None when there is none, or when it was about another commit or launch."""
    text = tx.environment_state(environment.id, StateKind.NOTE)
    data = json.loads(text) if text else None
    if data is None or data["about"] != _stand(environment):
        return None
    return Note(data["text"], tuple(data["lines"]))


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came of a comment.

    Args:
        outcome: for the record of its delivery.
        is_final: whether the comment isn't to be acted on again.
    """

    reaction: Reaction
    outcome: str
    note: Note | None = None
    is_final: bool = True


class CommentCommands:
    """Hears comments, each once."""

    def __init__(
        self,
        store: Store,
        forges: Forges,
        applications: Applications,
        environments: Environments,
        *,
        audit: Audit,
        once: Once,
    ) -> None:
        self._audit = audit
        self._once = once
        self._store = store
        self._forges = forges
        self._applications = applications
        self._commands, self._queries = environments.commands, environments.queries
        self._change_feed = environments.change_feed

    async def said(self, event: CommandSaid) -> str:
        """Do what a comment asks for, and answer where its author looks; what became of it, in words."""
        speech, forge = heard(event.text), self._forges.of(event.repository.id)
        is_ours, environment = await self._store.read(lambda tx: self._meant(tx, event))
        if speech is None or forge is None:
            return "ignored: it isn't for us"
        if not is_ours:
            return await self._store.read(lambda tx: why_not(tx, self._applications, event.repository))
        if repeated := await self._once.repeated(event):
            return f"ignored: {repeated}"
        if environment is None:
            await self._store.write(lambda tx: self._once.remember(tx, event))
            await self._react(forge, event, "confused")
            return "ignored: there is no preview of this pull request"
        answer = await self._answered(forge, event, speech, environment)
        await self._store.write(lambda tx: self._save(tx, event, environment.id, answer))
        await self._react(forge, event, answer.reaction)
        self._change_feed.changed(environment.id)
        return answer.outcome

    def _meant(self, tx: Transaction, event: CommandSaid) -> tuple[bool, Environment | None]:
        """Whether the repository is ours, or was, and the preview of the change; one that was made for an
        application that is gone can still be removed."""
        application = application_of(tx, self._applications, event.repository)
        if application is not None:
            key = EnvironmentKey.of_change(application.name, event.repository.id, event.number)
            if (found := tx.environment_by_key(key)) is not None:
                return True, found
        former = previews_of(tx, event.repository, event.number)
        return application is not None or bool(former), former[0] if former else None

    def _save(self, tx: Transaction, event: CommandSaid, environment_id: str, answer: _Answer) -> None:
        _save(tx, environment_id, answer.note)
        if answer.is_final:
            self._once.remember(tx, event)

    async def _answered(
        self, forge: Forge, event: CommandSaid, speech: CommentCommand, environment: Environment
    ) -> _Answer:
        try:
            access = await forge.people.access(event.repository, event.author)
        except Retry as error:
            doubt = Note(sentences(error.message, "Say it again when the forge answers."))
            outcome = "put off: nobody knows whether its author may"
            return _Answer("confused", outcome, doubt, is_final=False)
        if not access.may_push:
            self._audit.refused(
                Actor(event.author, BY),
                speech.verb.value if speech.verb else BY,
                app=environment.app,
                subject=f"{environment.name} ({environment.id})",
                reason="no-push-access",
            )
            refusal = Note(f"{event.author}: only people with push access may ask for that.")
            return _Answer("-1", "refused: no push access", refusal)
        if speech.verb is None:
            text = sentences(f'There is no "{speech.said}".', speech.hint)
            return _Answer("confused", "not understood", _help(text))
        try:
            note = await self._done(speech.verb, event, environment)
        except StagerError as error:
            return _Answer("-1", f"{error.kind}: {error.message}", Note(sentences(error.message, error.hint)))
        log.info("comment_heard", verb=speech.verb, environment=environment.id, author=event.author)
        return _Answer(_mark(speech.verb), f"done: {speech.verb}", note)

    async def _done(self, verb: Verb, event: CommandSaid, environment: Environment) -> Note | None:
        actor, commands = Actor(event.author, BY, role=Role.DEVELOPER), self._commands
        match verb:
            case Verb.LAUNCH:
                await commands.override_policy(environment.id, actor)
            case Verb.REDEPLOY:
                await commands.redeploy(environment.id, actor)
            case Verb.KILL:
                await commands.kill_by_id(environment.id, actor)
            case Verb.APPROVE:
                await commands.approve(environment.id, _commit_in(event.text, environment), actor)
            case Verb.PIN:
                await commands.pin(environment.id, actor)
                return Note("It is kept when room is made for other previews.")
            case Verb.EXTEND:
                await commands.extend(environment.id, actor)
                return Note("It counts as the newest when room is made for other previews.")
            case Verb.LOGS:
                lines = await self._queries.log_of(environment.id, LOG_LINES, actor)
                return Note("The last lines of its log:" if lines else "There is no log yet.", tuple(lines))
            case Verb.HELP:
                return _help("What can be asked for here, by people with push access:")
        return None

    @staticmethod
    async def _react(forge: Forge, event: CommandSaid, reaction: Reaction) -> None:
        try:
            await forge.announcements.react(event.repository, event.comment, reaction)
        except StagerError as error:
            log.warning("no_reaction", reason=error.reason, error=error.message)


def _mark(verb: Verb) -> Reaction:
    return "rocket" if verb in (Verb.LAUNCH, Verb.REDEPLOY, Verb.APPROVE) else "+1"


def _commit_in(text: str, environment: Environment) -> str:
    """The commit that an approval names. Without one, it isn't known what its author has read."""
    words = first_line(text).split()
    if len(words) < 3:
        raise Refused(
            "An approval names the commit that was read.",
            hint="For the commit that waits here, comment "
            f"`{ADDRESS} {Verb.APPROVE} {environment.desired.revision.sha}`.",
            reason="commit-unnamed",
        )
    return words[2]


def _help(text: str) -> Note:
    return Note(text, tuple(f"{ADDRESS} {verb.value:<9} {about}" for verb, about in ABOUT.items()))


def _save(tx: Transaction, environment_id: str, note: Note | None) -> None:
    environment = tx.environment(environment_id)
    about = _stand(environment) if environment else ""
    text = json.dumps({**asdict(note), "about": about}) if note else ""
    tx.save_environment_state(environment_id, StateKind.NOTE, text)


def _stand(environment: Environment) -> str:
    """What a note is about; after the next push or launch it is of no interest."""
    return f"{environment.desired.generation}:{environment.desired.revision.sha}"
