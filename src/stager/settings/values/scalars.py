"""Types of single values: durations, sizes, commands and the like. Each is parsed from and written to the
notation of the configuration."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, PlainValidator

from stager.domain.application import SHA_PLACEHOLDER
from stager.settings.loading.refusals import InvalidValue
from stager.settings.values.secret import STARS, ReferencedText, Secret

_DURATION_UNITS: Final = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_MAX_DURATION: Final = 36_500 * _DURATION_UNITS["d"]
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SIZE_UNITS: Final = {"t": 1 << 40, "g": 1 << 30, "m": 1 << 20, "k": 1 << 10, "": 1}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_REFERENCE_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE: Final = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::\d+)?/)?"
    rf"{_REFERENCE_PART}(?:/{_REFERENCE_PART})*(?::\w[\w.-]{{0,127}})?(?:@[a-z0-9]+:[0-9a-f]{{32,}})?"
)


@dataclass(frozen=True, slots=True)
class Form:
    """The name of this type of value on the reference page."""

    words: str


def _no_boolean(value: object) -> object:
    # In Python, True is an integer.
    if isinstance(value, bool):
        raise InvalidValue("should be a number")
    return value


NOT_BOOLEAN = BeforeValidator(_no_boolean)
PortNumber = Annotated[int, Field(ge=1, le=65_535), NOT_BOOLEAN]


def _positive(value: float) -> float:
    if value <= 0:
        raise InvalidValue("should be more than 0")
    return value


POSITIVE = AfterValidator(_positive)


def read_duration(value: object) -> float:
    """Parse a duration to seconds: `90`, `"90s"`, `"5m"` or `"1h30m"`.

    Raises:
        InvalidValue: it isn't a duration, or longer than 100 years.
    """
    seconds = _seconds(value)
    if seconds is None or not 0 <= seconds <= _MAX_DURATION:
        raise InvalidValue('should be a duration such as "90s", "5m" or "30d"')
    return seconds


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value).strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not re.fullmatch(rf"(?:{_DURATION.pattern})+", text):
        return None
    return sum(float(number) * _DURATION_UNITS[unit] for number, unit in _DURATION.findall(text))


def write_duration(seconds: float) -> str:
    """Format a duration with the largest unit that is exact: `5m` for 300."""
    for unit in "dhm":
        count, rest = divmod(seconds, _DURATION_UNITS[unit])
        if count and not rest:
            return f"{count:.0f}{unit}"
    return f"{Decimal(str(seconds)).normalize():f}s"


Duration = Annotated[
    float,
    PlainValidator(read_duration, json_schema_input_type=float | str),
    PlainSerializer(write_duration, when_used="json"),
    Form("duration"),
]


NEVER = "never"


def read_duration_or_never(value: object) -> float | None:
    """Parse a duration of more than 0 to seconds; None for `never`.

    Raises:
        InvalidValue: it is neither.
    """
    if isinstance(value, str) and value.strip().lower() == NEVER:
        return None
    try:
        return _positive(read_duration(value))
    except InvalidValue as error:
        raise InvalidValue(f"{error}, or `{NEVER}`") from error


def write_duration_or_never(seconds: float | None) -> str:
    """Format a duration, or `never` for None."""
    return NEVER if seconds is None else write_duration(seconds)


DurationOrNever = Annotated[
    float | None,
    PlainValidator(read_duration_or_never, json_schema_input_type=float | str),
    PlainSerializer(write_duration_or_never, when_used="json"),
    Form("duration or `never`"),
]


def read_size(value: object) -> int:
    """Parse a size to bytes: `1048576`, `"512m"` or `"1.5GiB"`; units are powers of 1024, as in Docker.

    Raises:
        InvalidValue: it isn't a size.
    """
    text = "" if isinstance(value, bool) else str(value).strip()
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InvalidValue('should be a size such as "512m" or "2g"')
    return int(float(match[1]) * _SIZE_UNITS[match[2].lower()])


def write_size(size: int) -> str:
    """Format a size with the largest unit that is exact: `512m` for 536870912."""
    for unit, length in _SIZE_UNITS.items():
        if size >= length and size % length == 0:
            return f"{size // length}{unit}"
    return str(size)


Size = Annotated[
    int,
    PlainValidator(read_size, json_schema_input_type=int | str),
    PlainSerializer(write_size, when_used="json"),
    Form("size"),
]


def read_words(value: object) -> tuple[str, ...]:
    """Split a command in shell syntax into words; a list has them already.

    Raises:
        InvalidValue, ValueError: it isn't a command, or only a shell understands it.
    """
    if isinstance(value, list | tuple) and all(isinstance(word, str) for word in value):
        return tuple(value)
    if not isinstance(value, str):
        raise InvalidValue("should be text or a list of texts")
    try:
        words = tuple(shlex.split(value))
    except ValueError as error:
        raise InvalidValue(f"should be a command; {_lower_first(str(error))}") from error
    _refuse_shell_syntax(value, words)
    return words


_SHELL_SYNTAX: Final = re.compile(
    r"""\\.|'[^']*'|(?P<quoted>"(?:\\.|[^"\\])*")|(?P<operator>[;<>|&]+)|(?P<expansion>\$[\w({]\w*|`)""",
    re.DOTALL,
)
_EXPANSION: Final = re.compile(r"(?<!\\)(?:\$[\w({]\w*|`)")
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=")
_SHELLS: Final = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh"})
_MAX_COMMAND: Final = 100
"""Characters of a command that a message repeats."""


def _refuse_shell_syntax(command: str, words: tuple[str, ...]) -> None:
    """Refuse unquoted operators, variables and assignments. Only a shell understands them: without one, the
    program gets them as arguments.

    Raises:
        ValueError: it has one. The message quotes no values of variables.
    """
    found = _shell_syntax(command, words)
    if not found:
        return
    is_short = not isinstance(command, ReferencedText) and len(command) <= _MAX_COMMAND
    right = json.dumps(["sh", "-c", command if is_short else "..."], ensure_ascii=False)
    raise ValueError(f"has {found}, which only a shell understands; write {right}")


def _shell_syntax(command: str, words: tuple[str, ...]) -> str:
    """The first syntax of a shell in this command; empty if there is none."""
    if words and _ASSIGNMENT.match(words[0]):
        return "a variable before the program"
    is_shell = bool(words) and words[0].rpartition("/")[2] in _SHELLS
    for match in _SHELL_SYNTAX.finditer(command):
        quoted = match["quoted"] and not is_shell and _EXPANSION.search(match["quoted"])
        if found := match["operator"] or match["expansion"] or (quoted and quoted[0]):
            return f"`{found}`" if found != "`" else "a backquote"
    return ""


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


Words = Annotated[
    tuple[str, ...],
    PlainValidator(read_words, json_schema_input_type=str | list[str]),
    PlainSerializer(list),
    Form("command"),
]


def is_reference(text: str) -> bool:
    """Whether it is a valid image reference, with or without registry, tag and digest."""
    return _REFERENCE.fullmatch(text) is not None


def _reference(value: str) -> str:
    if value and not is_reference(value):
        raise InvalidValue(
            'should be an image reference such as "shop" or "registry.example.org/shop:latest"'
        )
    return value


ImageReference = Annotated[str, AfterValidator(_reference), Form("image reference")]


def _pattern(value: str) -> str:
    _reference(value.replace(SHA_PLACEHOLDER, "0" * 40))
    return value


ImagePattern = Annotated[str, AfterValidator(_pattern), Form("image reference")]


def _url_path(value: str) -> str:
    if not re.fullmatch(r"/[!-~]*", value):
        raise InvalidValue('should be a path such as "/health"')
    return value


UrlPath = Annotated[str, AfterValidator(_url_path), Form("path")]


@dataclass(frozen=True, slots=True)
class User:
    """A user of BasicAuthentication."""

    name: str
    password: Secret

    @classmethod
    def read(cls, value: object) -> User:
        """Parse `name:password`; the password may contain colons.

        Raises:
            ValueError: it has another form; the message doesn't quote it, because it may contain a password.
        """
        if isinstance(value, User):
            return value
        name, _, password = value.partition(":") if isinstance(value, str) else ("", "", "")
        if not name or not password:
            raise ValueError('should be "name:password"')
        return cls(name, Secret(password, is_reference=isinstance(value, ReferencedText)))

    @property
    def is_hashed(self) -> bool:
        """Whether the password is an Argon2 hash in the PHC string format."""
        return self.password.reveal().startswith("$argon2")

    def __str__(self) -> str:
        return f"{self.name}:{STARS}"


Login = Annotated[
    User, PlainValidator(User.read, json_schema_input_type=str), PlainSerializer(str), Form("name:password")
]


def one_or_many(value: Any) -> Any:
    """Turn a text into a list of one, and empty text into the empty list."""
    if isinstance(value, str):
        return [value] if value else []
    return value


ONE_OR_MANY = BeforeValidator(one_or_many, json_schema_input_type=str | list[str])
