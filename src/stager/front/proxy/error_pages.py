"""The pages with which the front itself answers for a host: one for each state.

Each page says first, in plain words, what is going on and what a visitor can do. Details for developers
follow.
"""

from __future__ import annotations

from dataclasses import dataclass

from stager.domain.route import ASLEEP, Page

_OPENS = "The preview opens here by itself as soon as it is ready."
_STAYS = "You don't need to reload this page."
_ASKS = "Ask the person who sent you this link."
SOON, LATER = 2, 15
"""Seconds between two refreshes: of a temporary state, and of one that lasts until something is done."""


@dataclass(frozen=True, slots=True)
class PageTemplate:
    """The page of one state.

    Args:
        status: of the response.
        label: the state in a word or two.
        title: the headline; `{name}` is replaced by the environment's name.
        lead: what that means for a visitor. A message of the route table replaces it, unless that is
            technical.
        hint: what a visitor can do, if the route table has no hint.
        technical: a hint for developers.
        is_technical: whether message and hint of the route table are for developers.
        asks: whether the page says whom to ask.
        refresh: seconds between two refreshes.
        is_temporary: whether there is a `Retry-After` header.
        follows: whether the page follows the state of its host. It doesn't in place of one response of an
            application: it would repeat that request.
        tone: the colour.
    """

    status: int
    label: str
    title: str
    lead: str
    hint: str = ""
    technical: str = ""
    is_technical: bool = False
    asks: bool = False
    refresh: int = LATER
    is_temporary: bool = False
    follows: bool = True
    tone: str = "calm"


STATES = {
    "queued": PageTemplate(
        503, "queued", "{name} is queued", _OPENS, _STAYS, refresh=SOON, is_temporary=True, tone="wait"
    ),
    "building": PageTemplate(
        503, "building", "{name} is being built", _OPENS, _STAYS, refresh=SOON, is_temporary=True, tone="wait"
    ),
    "starting": PageTemplate(
        503, "starting", "{name} is starting", _OPENS, _STAYS, refresh=SOON, is_temporary=True, tone="wait"
    ),
    "asleep": PageTemplate(
        503, "asleep", "{name} is asleep", "Nobody used it for a while.", "It wakes when somebody opens it."
    ),
    "waking": PageTemplate(
        503,
        "waking up",
        "{name} is waking up",
        f"Nobody used it for a while. {_OPENS}",
        _STAYS,
        refresh=SOON,
        is_temporary=True,
        tone="wait",
    ),
    "approval": PageTemplate(
        403,
        "waiting for approval",
        "{name} is waiting for approval",
        "It isn't shown before someone with push access to the repository has approved it.",
        tone="wait",
    ),
    "checks": PageTemplate(
        503,
        "waiting for checks",
        "{name} is waiting for its checks",
        "It starts when the checks of its commit have passed.",
        tone="wait",
    ),
    "failed": PageTemplate(
        502,
        "failed",
        "{name} could not be started",
        "Its newest version has an error, so there is nothing to show yet. Your browser and your connection"
        " are fine.",
        technical="Push a new commit or launch it again to retry.",
        is_technical=True,
        asks=True,
        tone="bad",
    ),
    "stopped": PageTemplate(
        503, "stopped", "{name} is stopped", "It isn't running at the moment.", asks=True
    ),
    "expired": PageTemplate(
        410, "expired", "{name} has expired", "It was removed because it wasn't used for a while.", asks=True
    ),
    "refused": PageTemplate(
        403,
        "not allowed",
        "{name} is not allowed to run here",
        "The configuration of this server doesn't allow it.",
        asks=True,
        tone="bad",
    ),
    "gone": PageTemplate(
        410, "removed", "{name} was removed", "Its pull request was closed, or the preview was deleted."
    ),
    "unknown": PageTemplate(
        404,
        "unknown address",
        "There is no preview at {name}",
        "Check the address for typing errors, or ask the person who sent you the link.",
        technical="A preview appears here when a pull request is opened, or when one is launched.",
    ),
    "unreachable": PageTemplate(
        502,
        "not responding",
        "{name} does not respond",
        "The preview is running, but its application doesn't accept connections.",
        "This page tries again by itself.",
        asks=True,
        refresh=SOON,
        is_temporary=True,
        tone="bad",
    ),
    "bad-response": PageTemplate(
        502,
        "invalid response",
        "{name} sent an invalid response",
        "The preview's application has an error. Your browser and your connection are fine.",
        technical="Its response isn't valid HTTP/1.1, or it is incomplete. The application's log may tell"
        " more.",
        is_technical=True,
        asks=True,
        follows=False,
        tone="bad",
    ),
    "no-response": PageTemplate(
        504,
        "timed out",
        "{name} took too long to respond",
        "The preview's application received the request, but didn't respond. Try again in a moment.",
        technical="The application's log may tell more. `response_timeout` in Stager's configuration allows"
        " more time.",
        is_technical=True,
        asks=True,
        follows=False,
        tone="bad",
    ),
    "restarting": PageTemplate(
        503,
        "restarting",
        "Stager is starting or restarting",
        "Previews continue to work meanwhile.",
        "This page tries again by itself.",
        refresh=SOON,
        is_temporary=True,
        tone="wait",
    ),
}


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """A page of the front for one host.

    Args:
        state: one of `STATES`.
        name: the environment's name, or the host.
        message: what is wrong, one sentence; empty for the state's own words.
        page: the details of the route table.
    """

    state: str
    name: str = ""
    message: str = ""
    page: Page | None = None

    @classmethod
    def of(cls, page: Page, host: str) -> ErrorPage:
        """Make the page for a target of the route table."""
        return cls(page.state, page.name or host, page.message, page)

    @property
    def details(self) -> Page:
        """The details of the route table; empty ones if it has none."""
        return self.page or Page("starting")

    @property
    def template(self) -> PageTemplate:
        """The state's template."""
        return STATES[self.state]

    @property
    def status(self) -> int:
        """The status of the response."""
        return self.template.status

    @property
    def is_asleep(self) -> bool:
        """Whether requests to the host are held until it is awake."""
        return self.state in ASLEEP

    @property
    def title(self) -> str:
        """The headline."""
        return self.template.title.replace("{name}", self.name or "This preview")

    @property
    def for_visitors(self) -> list[str]:
        """What is going on and what a visitor can do, one paragraph each."""
        template, hint = self.template, self.details.hint
        if template.is_technical:
            return [template.lead, *filter(None, [template.hint])]
        return [self.message or template.lead, *filter(None, [hint or template.hint])]

    @property
    def for_developers(self) -> list[str]:
        """What is wrong in technical terms and what to do, one paragraph each."""
        template, own = self.template, (self.message, self.details.hint)
        texts = list(filter(None, own)) if template.is_technical else []
        is_answered = bool(template.is_technical and self.details.hint)
        return [*texts, *([template.technical] if template.technical and not is_answered else [])]

    @property
    def contact(self) -> str:
        """Whom to ask; empty if that wouldn't help."""
        if not self.template.asks:
            return ""
        author, number = self.details.author, self.details.number
        if not (author and number):
            return _ASKS
        return f"Ask {author}, who opened pull request #{number}, or the person who sent you this link."
