"""What the containers of the fake engine do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stager.ports.engine import Listener


@dataclass(frozen=True, slots=True)
class Inner:
    """What a command does that is run inside an instance.

    Args:
        exit_code: its exit code.
        output: what it prints.
        seconds: how long it takes.
        there: False if the image has no such program.
        listens: on a terminal, it goes on and answers its input; see `FakeTerminal`.
    """

    exit_code: int = 0
    output: str = ""
    seconds: float = 0.0
    there: bool = True
    listens: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    """What an image does once it is started.

    Args:
        status: the status of its responses; None if it runs and doesn't listen.
        exit_code: it exits at once with this code; None if it goes on running.
        hungry: it exceeds its memory limit, and exits with `exit_code`.
        output: what it prints.
        starts: False if it can't be started at all, as with a command that isn't in the image.
        stop_code: the exit code after a stop.
        healthy: the result of the image's own check; None if it has none.
        refusal: why its responses can't be passed on to visitors; it has no status then.
        checkable: False if its own check can't be run in it.
        check_output: what that prints.
        check_seconds: how long that takes.
        accepts: whether it accepts connections; None if they time out. With a status it always does.
        listeners: where it listens; None if that can't be found out.
        inner: the results of commands that are run inside, by their first word; others succeed.
        variables: the environment variables that the image sets.
        post_mortem: the likely cause of its exit.
    """

    status: int | None = 200
    exit_code: int | None = None
    hungry: bool = False
    output: str = ""
    starts: bool = True
    stop_code: int = 0
    healthy: bool | None = None
    refusal: str = ""
    checkable: bool = True
    check_output: str = ""
    check_seconds: float = 0.0
    accepts: bool | None = None
    listeners: tuple[Listener, ...] | None = None
    inner: Mapping[str, Inner] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    post_mortem: str = ""
