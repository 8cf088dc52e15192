"""External resources: what an application's server hooks create outside of Stager for a preview, such as a
database on another server, and what hooks print about it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from stager.domain.errors import Fault
from stager.domain.source import Trust

MAX_OUTPUT = 64 * 1024
"""Bytes of a hook's output. The environment of a process is limited, too (execve(2): `E2BIG`)."""
MAX_VARIABLES = 200
RESERVED = "STAGER"
"""Names that begin with it are Stager's own."""
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=2), timedelta(minutes=5)
"""Until the next try of a `before_kill` hook; doubles with each failure."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class ServerHooks:
    """Commands of an application that run on the server. False if there are none.

    Args:
        before_launch: split into words; empty for none. Its output becomes variables.
        before_kill: split into words; empty for none.
        timeout: seconds that a command may take.
        forks_allowed: whether they run for untrusted code, which then gets their variables.
        folder: the working directory.
    """

    before_launch: tuple[str, ...] = ()
    before_kill: tuple[str, ...] = ()
    timeout: float = 300.0
    forks_allowed: bool = False
    folder: str = "/"

    def __bool__(self) -> bool:
        return bool(self.before_launch or self.before_kill)

    def run_for(self, trust: Trust) -> bool:
        """Whether they run for previews of code of this trust."""
        return bool(self) and (trust is Trust.TRUSTED or self.forks_allowed)


@dataclass(frozen=True, slots=True)
class HookOutput:
    """The variables that a `before_launch` hook has set.

    Args:
        secrets: are masked in what is shown of later hooks.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def all(self) -> dict[str, str]:
        return {**self.variables, **self.secrets}


class ResourceState(StrEnum):
    """How far a resource is."""

    CREATING = "creating"
    """`before_launch` may have run, but hasn't succeeded."""
    READY = "ready"
    REMOVING = "removing"
    """`before_kill` may have run, but hasn't succeeded. No deployment uses the resource any more."""


@dataclass(frozen=True, slots=True)
class ExternalResource:
    """What server hooks have created for one preview.

    Args:
        id: lower-case letters and digits, unique in the installation and never used again.
        generation: of the environment, for which it was created. Later ones use it, too.
        before_kill: the command, as it was configured at the creation; empty for none.
        folder: its working directory.
        timeout: seconds that it may take.
        output: of `before_launch`.
        failures: of the current hook, in a row.
        retry_at: the earliest time of the next try of `before_kill`; None if it is due.
        problem: what the last failure was, in words, for those who may read logs; empty if there was none.
        unreadable: its encrypted command and output, if they can't be decrypted.
    """

    id: str
    generation: int
    state: ResourceState = ResourceState.CREATING
    before_kill: tuple[str, ...] = ()
    folder: str = "/"
    timeout: float = 300.0
    output: HookOutput = field(default_factory=HookOutput)
    failures: int = 0
    retry_at: datetime | None = None
    problem: str = ""
    unreadable: str = field(default="", repr=False)


def resource_for(
    resources: Iterable[ExternalResource], generation: int, epoch: int = 0
) -> ExternalResource | None:
    """The resource that the deployment of this generation uses; None if there is none yet.

    Args:
        epoch: the generation at which the preview's data was reset. It and later ones use no earlier
            resource.
    """
    since = epoch if generation >= epoch else 0
    usable = (
        r for r in resources if r.state is not ResourceState.REMOVING and since <= r.generation <= generation
    )
    return max(usable, key=lambda r: r.generation, default=None)


def pause_after(failures: int) -> timedelta:
    """The time until the next try after this many failures in a row."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * (1 << min(failures - 1, 10)))


def problem_of(resource: ExternalResource) -> str:
    """Why a resource isn't created or removed, in sentences; empty if nothing has failed."""
    if not resource.problem:
        return ""
    times = "once" if resource.failures == 1 else f"{resource.failures} times"
    if resource.state is not ResourceState.REMOVING:
        return f"{resource.problem} It failed {times}."
    at = f" at {resource.retry_at:%H:%M:%S} UTC" if resource.retry_at else ""
    return f"{resource.problem} It failed {times}; Stager tries it again{at}, until it succeeds."


def read_output(output: bytes) -> HookOutput:
    """The variables in the output of a `before_launch` hook: a JSON object with the keys `variables` and
    `secrets`, both optional. No output means no variables.

    Raises:
        Fault: `hook-output-invalid`: it is something else. The message quotes no values.
    """
    if len(output) > MAX_OUTPUT:
        raise _invalid(f"it is larger than {MAX_OUTPUT >> 10} KiB")
    if not output.strip():
        return HookOutput()
    try:
        data = json.loads(output)
    except (ValueError, RecursionError):
        raise _invalid("it isn't JSON") from None
    if not isinstance(data, dict):
        raise _invalid("it isn't a JSON object")
    if unknown := sorted(data.keys() - {"variables", "secrets"}):
        raise _invalid(f"the key {unknown[0]!r} is unknown")
    variables, secrets = (_variables(data, key) for key in ("variables", "secrets"))
    if both := sorted(variables.keys() & secrets.keys()):
        raise _invalid(f"{both[0]} is in `variables` and in `secrets`")
    if len(variables) + len(secrets) > MAX_VARIABLES:
        raise _invalid(f"it has more than {MAX_VARIABLES} variables")
    return HookOutput(variables, secrets)


def _variables(data: Mapping[str, Any], key: str) -> Mapping[str, str]:
    found = data.get(key, {})
    if not isinstance(found, dict):
        raise _invalid(f"`{key}` isn't an object")
    for name, value in found.items():
        if not _NAME.fullmatch(name):
            raise _invalid(f"{name!r} in `{key}` isn't a name of a variable")
        if name.startswith(RESERVED):
            raise _invalid(f"{name} in `{key}` is a name of Stager's own")
        if not isinstance(value, str) or "\0" in value:
            raise _invalid(f"the value of {name} in `{key}` isn't text")
    return found


def _invalid(why: str) -> Fault:
    return Fault(
        f"The output of the before_launch hook is invalid: {why[:200]}.",
        hint='It prints nothing but an object such as {"variables": {"PGHOST": "db"}, "secrets": '
        '{"DATABASE_URL": "..."}}. Messages go to standard error.',
        reason="hook-output-invalid",
    )
