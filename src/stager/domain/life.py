"""How long a preview lives without being used: when its pull request is warned, and when it expires. Pure.

Only time in which Stager ran counts: a machine that was off for a month, or a clock that jumps ahead, expires
nothing. A preview expires only if a warning was shown for the whole time that people have to react.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from stager.domain.environment import Environment, Suspension, SuspensionReason

WARN_AHEAD = timedelta(days=1)
"""How long before its end the pull request is warned; half of `expire_after` if that is less."""
LONGEST_PAUSE = timedelta(minutes=15)
"""A longer time between two looks at the clock doesn't count: Stager didn't run, or the clock was set."""
_BEGINNING = datetime.min.replace(tzinfo=UTC)
MAX_GAPS = 1_000
"""Gaps that are remembered: those of a machine that is switched off every night, for almost three years."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which Stager didn't run."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class ObservedTime:
    """The time in which Stager ran.

    Args:
        seen: the last look at the clock; None before the first.
        gaps: oldest first, without overlaps.
    """

    seen: datetime | None = None
    gaps: tuple[Gap, ...] = ()

    def at(self, now: datetime) -> ObservedTime:
        """The same after another look at the clock. Nothing before the first look counts: an earlier version
        didn't record visits. After a clock was set back, what lay after it is forgotten."""
        gaps = tuple(Gap(gap.start, min(gap.end, now)) for gap in self.gaps if gap.start < now)
        seen = self.seen or _BEGINNING
        if now - seen > LONGEST_PAUSE:
            gaps = (*gaps, Gap(seen, now))
        return ObservedTime(now, gaps[-MAX_GAPS:])

    def since(self, moment: datetime) -> timedelta:
        """How much of the time since this moment counts; 0 for a moment in the future."""
        if self.seen is None or moment >= self.seen:
            return timedelta()
        unseen = (gap.end - max(gap.start, moment) for gap in self.gaps if gap.end > moment)
        return self.seen - moment - sum(unseen, timedelta())


@dataclass(frozen=True, slots=True)
class Notice:
    """The warning that a preview will expire.

    Args:
        since: when it was shown first.
        expires_at: when it expires if Stager runs without interruption.
    """

    since: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Expired:
    """A preview is over its time."""


def judge(
    used: datetime, expire_after: timedelta, notice: Notice | None, time: ObservedTime, now: datetime
) -> Notice | Expired | None:
    """What is due for a preview; None for nothing.

    Args:
        used: the last visit, push, launch or extension.
        notice: what is shown now. It is void if it was used since.
        time: up to now.
    """
    ahead = min(WARN_AHEAD, expire_after / 2)
    idle = time.since(used)
    if idle < expire_after - ahead:
        return None
    if notice is None or not used < notice.since <= now:
        return Notice(now, now + max(ahead, expire_after - idle))
    left = max(ahead - time.since(notice.since), expire_after - idle)
    return Notice(notice.since, now + left) if left > timedelta() else Expired()


def expiry_of(environment: Environment, expire_after: timedelta) -> Suspension:
    """The suspension of a preview that expired."""
    back = "with the next push, when the pull request is reopened, or when it is launched"
    return Suspension(
        SuspensionReason.EXPIRED,
        f"This preview expired: there was no visit and no push for {in_words(expire_after)}.",
        f"It comes back {back}." if environment.change else "Launch it again to bring it back.",
    )


_UNITS = ((timedelta(days=1), "day"), (timedelta(hours=1), "hour"), (timedelta(minutes=1), "minute"))


def in_words(span: timedelta) -> str:
    """A span in its largest unit that is exact, such as `14 days`."""
    for unit, name in _UNITS:
        count, rest = divmod(span, unit)
        if count and not rest:
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{span.total_seconds():g} seconds"
