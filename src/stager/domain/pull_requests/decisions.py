"""What an event listener decides about a pull request's event."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

LONGEST_NAME = 255
"""Characters of a preview's name."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""POSIX names of environment variables (IEEE Std 1003.1, section 8.1), and lower-case letters."""


@dataclass(frozen=True, slots=True)
class LaunchPreview:
    """Launch the pull request's preview, or refresh it.

    Args:
        name: the preview's name; empty for the name of the branch.
        parameters: environment variables for the instance.
    """

    name: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RemovePreview:
    """Remove the pull request's preview."""


@dataclass(frozen=True, slots=True)
class Skip:
    """No preview of the pull request's current commit; a running one is stopped. After the pull request was
    closed, its preview is left as it is.

    Args:
        reason: shown in the commit status, on the preview's page and in the delivery's outcome.
    """

    reason: str


Decision = LaunchPreview | RemovePreview | Skip


def problem_of(decision: Decision) -> str:
    """What is wrong with the fields of a decision, such as `parameters["PORT"] isn't text`; empty for
    nothing."""
    match decision:
        case LaunchPreview(name, parameters):
            return _problem_of_name(name) or _problem_of_parameters(parameters)
        case RemovePreview():
            return ""
        case Skip(reason):
            return "" if isinstance(reason, str) and reason.strip() else "its reason is missing"


def _problem_of_name(name: object) -> str:
    is_valid = isinstance(name, str) and len(name) <= LONGEST_NAME and name.isprintable()
    return "" if is_valid else f"its name isn't text of at most {LONGEST_NAME} printable characters"


def _problem_of_parameters(parameters: object) -> str:
    if not isinstance(parameters, Mapping):
        return "its parameters aren't a mapping"
    for name, value in parameters.items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            return f"{str(name)[:80]!r} isn't the name of an environment variable"
        if not isinstance(value, str) or "\0" in value:
            return f'parameters["{name[:80]}"] isn\'t text'
    return ""
