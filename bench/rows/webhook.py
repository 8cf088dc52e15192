"""The answer to a webhook while many environments are open, and deliveries after `kill -9`."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp

from bench.figures import median, percentile, rounded, seconds
from bench.openloop import spread
from bench.row import Chart, Figures, Line, Row
from bench.testbed import Testbed
from stager.domain.route import Endpoint
from tests.integration.pulls import Pull
from tests.integration.stager import SECRET, StagerUnderTest, until
from tests.unit.front.harness import rig

OPEN, ROUNDS = 200, 3
DURATION = 1.0
BATCH = 20
"""Environments that are opened at once while the row is prepared: Docker gets slow with more."""
PATIENCE = 600.0

Body = tuple[dict[str, str], bytes]
Send = Callable[[Body], Awaitable[None]]


def measure(testbed: Testbed) -> dict[str, Any]:
    """Raw figures: seconds of each answer, in rounds with and without subsequent work; lost deliveries."""
    with testbed.stager() as stager:
        pulls = [Pull(number, f"branch-{number}") for number in range(1, OPEN + 1)]
        return asyncio.run(_measure(testbed.folder, stager, pulls))


async def _measure(folder: Path, stager: StagerUnderTest, pulls: Sequence[Pull]) -> dict[str, Any]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as web, _without_work(folder / "floor") as floor:
        to_floor = _sender(web, floor, "localhost")
        to_stager = _sender(web, stager.url, f"localhost:{stager.port}")
        await _open(stager, to_stager, pulls)
        taken: dict[str, list[list[float]]] = {"floor": [], "stager": []}
        for number in range(ROUNDS + 1):
            last = number == ROUNDS  # the last round's deliveries are pushes, which make everything restart
            bodies = [_signed(pull.push() if last else _labeled(pull)) for pull in pulls]
            for name, send in (("floor", to_floor), ("stager", to_stager)):
                taken[name].append(rounded(await _round(send, bodies), 5))
                await asyncio.sleep(1)
        await asyncio.sleep(3)  # the containers of the first pushes are being replaced
        bodies = [_signed(pull.push()) for pull in pulls]
        taken["stager"].append(rounded(await _round(to_stager, bodies), 5))
        await asyncio.to_thread(stager.kill9)
        await asyncio.to_thread(stager.start)
        lost = await _lost(stager, pulls)
        await asyncio.to_thread(stager.kill9)
        async with _churn():
            taken["floor"].append(rounded(await _round(to_floor, bodies), 5))
    return {
        "open": OPEN,
        "quiet": {name: rounds[:ROUNDS] for name, rounds in taken.items()},
        "pushes": {name: rounds[ROUNDS] for name, rounds in taken.items()},
        "churning": {name: rounds[ROUNDS + 1] for name, rounds in taken.items()},
        "lost": lost,
    }


@contextlib.asynccontextmanager
async def _churn() -> AsyncIterator[None]:
    """Replace containers meanwhile, without Stager; see `bench.churn`."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.churn", stdin=pipe, stdout=pipe
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        await process.stdout.readline()  # it is under way
        yield
    finally:
        process.stdin.close()
        await asyncio.wait_for(process.communicate(), 120)


async def _open(stager: StagerUnderTest, send: Send, pulls: Sequence[Pull]) -> None:
    begun = monotonic()
    for first in range(0, len(pulls), BATCH):
        for pull in pulls[first : first + BATCH]:
            await send(_signed(pull.opened()))
        await asyncio.to_thread(_until_live, stager, min(first + BATCH, len(pulls)))
    print(f"  {len(pulls)} environments are open after {monotonic() - begun:.0f} s", flush=True)


def _until_live(stager: StagerUnderTest, count: int) -> None:
    def look() -> bool:
        states = [environment["state"] for environment in stager.api()]
        return states.count("live") >= count

    until(look, f"{count} environments are live", PATIENCE)


async def _round(send: Send, bodies: Sequence[Body]) -> list[float]:
    return await spread(lambda number: send(bodies[number]), len(bodies), DURATION)


async def _lost(stager: StagerUnderTest, pulls: Sequence[Pull]) -> int:
    """The number of pushes answered with 202 that aren't in the desired state at the end."""
    wanted = {pull.ref: pull.sha for pull in pulls}

    def missing() -> int:
        known = {environment["name"]: environment["sha"] for environment in stager.api()}
        return sum(known.get(ref) != sha for ref, sha in wanted.items())

    with contextlib.suppress(AssertionError):
        await asyncio.to_thread(until, lambda: not missing(), "every push is known")
    return missing()


def _labeled(pull: Pull) -> dict[str, Any]:
    """A delivery about a label, which needs no work."""
    return pull.payload("labeled")


def _signed(payload: dict[str, Any]) -> Body:
    body = json.dumps(payload).encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "X-GitHub-Event": "pull_request",
        "X-GitHub-Delivery": str(uuid.uuid4()),
        "X-Hub-Signature-256": f"sha256={signature}",
    }, body


def _sender(web: aiohttp.ClientSession, url: str, host: str) -> Send:
    async def send(signed: Body) -> None:
        headers, body = signed
        async with web.post(f"{url}/event_receiver", data=body, headers={**headers, "Host": host}) as answer:
            text = await answer.text()
            assert answer.status == 202, text

    return send


@contextlib.asynccontextmanager
async def _without_work(folder: Path) -> AsyncIterator[str]:
    """The URL of the floor: the same route behind a front, without work."""
    async with rig(folder) as front:
        socket = folder / "floor.sock"
        process = subprocess.Popen([sys.executable, "-m", "bench.nowork", socket])  # noqa: ASYNC220 (short)
        try:
            await asyncio.to_thread(until, socket.exists, "the floor listens")
            await front.serve({}, Endpoint(path=str(socket)))
            yield f"http://127.0.0.1:{front.port}"
        finally:
            process.terminate()
            process.wait(20)


def lines(figures: Figures) -> list[Line]:
    """Deliveries without work, pushes, and lost deliveries."""
    count = figures["open"]
    what = f"A webhook's answer (99th percentile), {count} environments open, {count} deliveries in a second"
    quiet = figures["quiet"]
    return [
        _line(f"{what}, no work follows", *(_middle(quiet[who]) for who in ("floor", "stager"))),
        _line(f"{what}, each a push", *_both(figures["pushes"])),
        _line(f"{what}, each a push, while containers are being replaced", *_both(figures["churning"])),
        Line(
            what=f"Of {count} answered pushes, lost at `kill -9`",
            floor="0",
            ours=str(figures["lost"]),
            budget="0",
            value=figures["lost"],
            limit=0,
        ),
    ]


def _both(figures: Figures) -> tuple[float, float]:
    """The 99th percentiles of the floor and of Stager."""
    return percentile(figures["floor"], 99), percentile(figures["stager"], 99)


def _middle(rounds: list[list[float]]) -> float:
    """The median over the rounds of their 99th percentiles."""
    return median([percentile(values, 99) for values in rounds])


def _line(what: str, floor: float, ours: float) -> Line:
    limit = 2 * floor + 0.005
    return Line(
        what=what,
        floor=seconds(floor),
        ours=seconds(ours),
        budget=f"at most twice the floor and 5 ms: {seconds(limit)}",
        value=ours,
        limit=limit,
    )


def charts(figures: Figures) -> list[Chart]:
    """The 99th percentiles, in milliseconds."""
    bars = [
        ("no work at all", _middle(figures["quiet"]["floor"]) * 1e3),
        ("Stager, no work follows", _middle(figures["quiet"]["stager"]) * 1e3),
        ("Stager, each a push", percentile(figures["pushes"]["stager"], 99) * 1e3),
        ("no work at all, while containers are replaced", percentile(figures["churning"]["floor"], 99) * 1e3),
        (
            "Stager, each a push, while containers are replaced",
            percentile(figures["churning"]["stager"], 99) * 1e3,
        ),
    ]
    return [Chart("bench-webhook", "A webhook's answer, 99th percentile", "ms", bars)]


ABOUT = f"""\
{OPEN} pull requests are open, each with a running container. Then {OPEN} signed deliveries arrive in a
second, evenly spread, sent whether or not those before were answered. Measured is the time from when
each was due until its answer. The floor is the same route, framework and server behind a front of its
own, answering 202 without reading the request. In {ROUNDS} rounds each delivery is a label, which
causes no work. In the next round each is a push. In the last one each is a push again, three seconds
later, while {OPEN} containers are being replaced on the same processors; its floor is measured beside a
program that replaces containers at the same rate. After the last answer the control plane is killed and
started again, and every push must be in its desired state.
"""

MISSED = """\
the control plane waits for a processor. When all processors are busy, the operating system divides them
evenly among the processes. The floor needs less than its share, Stager more, so a queue forms in the control
plane. Measured beside container churn, on a machine that other programs kept busy as well: in 2.3 s, the
event loop ran for 0.3 s and waited for a processor for 2.1 s. A delivery waited 0.8 s on average until the
event loop read it, 15 ms until its write began, less than 1 ms for write and commit, and 0.2 s until the
event loop continued. So neither the queue of writes nor the disk is the cause.

A burst of deliveries therefore defers their processing, the reconciliation and the start of containers until
it is over, for two seconds at most. On the same busy machine it lowered the 99th percentile beside container
churn in each of four alternating rounds (median 2.2 s to 1.6 s). What
remains is the share of other processes: only a higher priority would change it, and only root can set one.
"""

ROW = Row(
    "webhook",
    "A webhook's answer",
    ABOUT.strip(),
    measure,
    lines,
    charts,
    missed=MISSED.strip(),
)
