"""The machine on the dashboard: what is free, what waits, what doesn't work, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from stager.control.control_plane import ControlPlane
from stager.control.environments.occupancy import EXPECTED_MEMORY
from stager.domain.allocation import Limits
from stager.domain.status import State
from stager.ports.machine import MachineState
from stager.web.pages.overview.figures import size
from stager.web.pages.overview.tally import Tally

LOW_SHARE = 10
"""The rate limit is short below one tenth of it."""
AWAKE = frozenset(
    {
        *(State.STARTING, State.BUILDING, State.LIVE, State.UNRESPONSIVE, State.DEGRADED),
        *(State.UPDATING, State.FAILED_UPDATE, State.WAKING),
    }
)
HINTS = {
    "engine": "Run `systemctl status docker` on the server; live previews stay reachable meanwhile.",
    "front": "Run `systemctl status stager-front` on the server.",
    "routes": "Check the configuration of nginx or HAProxy with `stager doctor`.",
    "firewall": "Run `systemctl status stager-helper` on the server.",
}
"""What to do about a part that `/readyz` reports."""
NO_MEMORY = "Previews go to sleep and further ones wait. Remove previews, or add memory."
NO_DISK = "Further previews wait. Run `stager gc` on the server, or remove previews."
NAMES = {"engine": "Docker", "front": "Proxy", "routes": "Router", "firewall": "Firewall"}


@dataclass(frozen=True, slots=True)
class Part:
    """One line of the panel.

    Args:
        tone: `good`, `wait` or `bad`.
        hint: what to do about it; empty if all is well.
    """

    name: str
    tone: str
    words: str
    hint: str = ""


async def panel_of(control: ControlPlane, tally: Tally) -> list[Part]:
    """Return the panel for administrators. It asks neither the engine nor a forge: it shows what is known."""
    await tally.refresh(control)
    machine = await control.ports.machine.state()
    limits = control.environments.capacity.options.limits
    memory = [figures.memory for figures in control.environments.consumption.look().values()]
    return [
        *_resources(machine, limits),
        _room(machine, limits, memory, tally),
        _queue(tally),
        *_parts(control),
        *_forges(control),
    ]


async def short_panel_of(control: ControlPlane, tally: Tally) -> list[Part]:
    """Return the panel for others: whether there is room, what waits, and what doesn't work."""
    await tally.refresh(control)
    machine = await control.ports.machine.state()
    limits = control.environments.capacity.options.limits
    memory = [figures.memory for figures in control.environments.consumption.look().values()]
    problems = control.reconciler.readiness.problems.items()
    return [
        _room(machine, limits, memory, tally),
        replace(_queue(tally), hint=""),
        *(Part(NAMES.get(key, key), "wait", problem) for key, problem in problems),
    ]


def _resources(machine: MachineState, limits: Limits) -> Iterator[Part]:
    if machine.memory and machine.available_memory is not None:
        words = f"{size(machine.available_memory)} of {size(machine.memory)} available"
        is_short = machine.available_memory < limits.free_memory + EXPECTED_MEMORY
        yield _part("Memory", words, NO_MEMORY if is_short else "")
    if machine.disk and machine.free_disk is not None:
        words = f"{size(machine.free_disk)} of {size(machine.disk)} free"
        yield _part("Disk", words, NO_DISK if machine.free_disk < limits.free_disk else "")


def _part(name: str, words: str, hint: str) -> Part:
    return Part(name, "bad" if hint else "good", words, hint)


def _room(machine: MachineState, limits: Limits, memory: list[int], tally: Tally) -> Part:
    """Return how many further previews fit: the least of what memory and the limits leave."""
    awake = sum(tally.in_state(state) for state in AWAKE)
    used = [each for each in memory if each]
    usual = max(EXPECTED_MEMORY, sum(used) // len(used)) if used else EXPECTED_MEMORY
    rooms = []
    if machine.available_memory is not None:
        rooms.append(max(0, machine.available_memory - limits.free_memory) // usual)
    if limits.host.running is not None:
        rooms.append(max(0, limits.host.running - awake))
    if not rooms:
        return Part("Room", "good", f"{awake} running")
    more = min(rooms)
    hint = "" if more else "Further previews wait, or take the place of previews that nobody visits."
    return Part("Room", "good" if more else "wait", f"{awake} running, about {more} more fit", hint)


def _queue(tally: Tally) -> Part:
    waiting = tally.in_state(State.QUEUED)
    if not waiting:
        return Part("Queue", "good", "empty")
    words = "1 preview waits for room" if waiting == 1 else f"{waiting} previews wait for room"
    return Part("Queue", "wait", words, "They start by themselves. `stager capacity` shows the queue.")


def _parts(control: ControlPlane) -> Iterator[Part]:
    problems = dict(control.reconciler.readiness.problems)
    for key, name in NAMES.items():
        if (problem := problems.pop(key, "")) or key != "firewall":
            yield Part(name, "bad" if problem else "good", problem or "works", HINTS[key] if problem else "")
    for key, problem in problems.items():
        yield Part(key, "bad", problem, "Run `stager doctor` on the server.")
    yield Part("Database", "good", "works")  # this page was made from it


def _forges(control: ControlPlane) -> Iterator[Part]:
    for forge in control.ports.forges:
        limit = forge.redelivery.limits()
        if limit is None:
            continue
        is_short = limit.remaining * LOW_SHARE < limit.limit
        words = f"{limit.remaining} of {limit.limit} requests left"
        hint = f"It is reset at {limit.resets_at:%H:%M} UTC; reports are late until then." if is_short else ""
        name = {"github": "GitHub"}.get(forge.name, forge.name)
        yield Part(f"{name}'s rate limit", "wait" if is_short else "good", words, hint)
