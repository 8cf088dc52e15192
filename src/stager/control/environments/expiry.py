"""Expiry: previews without visits and pushes are announced to expire, then suspended."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from stager.control.environments.change_feed import ChangeFeed
from stager.control.environments.desired_state import DesiredState
from stager.control.environments.pins import Pin, pins
from stager.control.environments.visits import Visits, all_visits, last_visit, save_visits
from stager.control.ports import Ports
from stager.domain.application import Applications
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment, Suspension
from stager.domain.life import Expired, Gap, Notice, ObservedTime, expiry_of, judge
from stager.domain.traffic import Activity
from stager.ports.store import StateKind, Transaction

log = structlog.get_logger(__name__)

INTERVAL = timedelta(minutes=5)
TIME = "observed-time"
"""The fact that has the stored `ObservedTime`."""


@dataclass(frozen=True, slots=True)
class _Use:
    """What decides about the life of one preview.

    Args:
        used: the last visit, push, launch or extension.
        expire_after: None for never.
        notice: the warning that is shown now.
    """

    environment: Environment
    used: datetime
    expire_after: timedelta | None
    notice: Notice | None

    def due(self, time: ObservedTime, now: datetime) -> Notice | Suspension | None:
        """The warning that is to be shown, or the suspension if it is over its time."""
        if self.expire_after is None:
            return None
        found = judge(self.used, self.expire_after, self.notice, time, now)
        return expiry_of(self.environment, self.expire_after) if isinstance(found, Expired) else found


class Expiry:
    """Warns of the expiry of previews, and carries it out.

    Args:
        wake: wakes the worker of an environment.
    """

    def __init__(
        self,
        ports: Ports,
        applications: Applications,
        desired_state: DesiredState,
        change_feed: ChangeFeed,
        wake: Callable[[str], None],
    ) -> None:
        self._store, self._router, self._clock = ports.store, ports.router, ports.clock
        self._applications = applications
        self._desired_state = desired_state
        self._change_feed = change_feed
        self._wake = wake

    async def run(self) -> None:
        """Look at all previews once.

        Raises:
            Retry: the store or the front doesn't answer. Nothing expires while visits aren't known.
        """
        activity = await self._router.activity()
        now = self._clock.now()
        changed = await self._store.write(lambda tx: self._judge_all(tx, activity, now))
        for environment_id, is_over in changed.items():
            self._change_feed.changed(environment_id)
            if is_over:
                log.info("preview_expired", environment=environment_id)
                self._wake(environment_id)

    def _judge_all(self, tx: Transaction, activity: Activity, now: datetime) -> dict[str, bool]:
        """The ids of the previews of which something changed, with whether they expired."""
        time = _stored_time(tx).at(now)
        tx.save_fact(TIME, _time_to_text(time))
        changed: dict[str, bool] = {}
        for use in self._uses(tx, activity, now):
            due, id_ = use.due(time, now), use.environment.id
            if due == use.notice:
                continue
            if isinstance(due, Suspension):
                self._desired_state.expire(tx, use.environment, due)
            save_notice(tx, id_, due if isinstance(due, Notice) else None)
            changed[id_] = isinstance(due, Suspension)
        return changed

    def _uses(self, tx: Transaction, activity: Activity, now: datetime) -> list[_Use]:
        pinned, notices, visits = pins(tx), notices_of(tx), _newest_visits(tx, activity, now)
        found: list[_Use] = []
        for environment, deployment in tx.environments_with_deployments(present=True):
            pin = pinned.get(environment.id, Pin())
            visit = visits.get(environment.id)
            limit, used = self._limit(environment, pin), _last_use(environment, deployment, pin, visit)
            found.append(_Use(environment, used, limit, notices.get(environment.id)))
        return found

    def _limit(self, environment: Environment, pin: Pin) -> timedelta | None:
        """How long the environment lives without use; None for ever. A suspended one doesn't expire."""
        application = self._applications.find(environment.app)
        if application is None or application.expire_after is None or pin.pinned:
            return None
        if environment.desired.suspension is not None or environment.key.is_of_snapshot:
            return None
        return timedelta(seconds=application.expire_after)


def _newest_visits(tx: Transaction, activity: Activity, now: datetime) -> dict[str, datetime]:
    """The last visits, by the id of the environment. Those that only the front knows, of up to ten minutes,
    are stored first."""
    visits, hosts = all_visits(tx), tx.all_service_hosts()
    found: dict[str, datetime] = {}
    for each in tx.environments(present=True):
        stored = visits.get(each.id, Visits())
        last = last_visit(stored, (each.host, *hosts.get(each.id, {}).values()), activity, now)
        if last is not None and last != stored.last:
            save_visits(tx, each.id, replace(stored, last=last))
        if last is not None:
            found[each.id] = last
    return found


def _last_use(
    environment: Environment, deployment: Deployment | None, pin: Pin, visit: datetime | None
) -> datetime:
    """The last push, launch, visit or extension."""
    moments = (deployment.created_at if deployment else None, pin.extended_at, visit)
    return max([environment.created_at, *(each for each in moments if each is not None)])


def notices_of(tx: Transaction) -> dict[str, Notice]:
    """The warnings that are shown, by the id of the environment."""
    return {id_: _notice(text) for id_, text in tx.environment_states(StateKind.EXPIRY).items()}


def notice_of(tx: Transaction, environment: Environment) -> Notice | None:
    """The warning that an environment will expire; None if it won't soon."""
    text = tx.environment_state(environment.id, StateKind.EXPIRY)
    return _notice(text) if text and environment.desired.suspension is None else None


def save_notice(tx: Transaction, environment_id: str, notice: Notice | None) -> None:
    """Store the warning; it replaces an earlier one. None removes it."""
    stamps = (
        {"since": notice.since.isoformat(), "expires_at": notice.expires_at.isoformat()} if notice else {}
    )
    tx.save_environment_state(environment_id, StateKind.EXPIRY, json.dumps(stamps) if stamps else "")


def _notice(text: str) -> Notice:
    stamps: Mapping[str, str] = json.loads(text)
    return Notice(*(datetime.fromisoformat(stamps[name]) for name in ("since", "expires_at")))


def _stored_time(tx: Transaction) -> ObservedTime:
    text = tx.fact(TIME)
    if not text:
        return ObservedTime()
    data = json.loads(text)
    gaps = (Gap(*map(datetime.fromisoformat, each)) for each in data["gaps"])
    return ObservedTime(datetime.fromisoformat(data["seen"]), tuple(gaps))


def _time_to_text(time: ObservedTime) -> str:
    gaps = [[gap.start.isoformat(), gap.end.isoformat()] for gap in time.gaps]
    return json.dumps({"seen": time.seen.isoformat() if time.seen else "", "gaps": gaps})
