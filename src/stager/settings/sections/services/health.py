"""When a service counts as healthy."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, model_validator

from stager.domain.service import ServiceCheck
from stager.settings.loading.refusals import InvalidValue, refuse
from stager.settings.values.scalars import POSITIVE, Duration, Form, PortNumber, UrlPath, Words
from stager.settings.values.section import Section


class Health(Section):
    """When a service counts as healthy: a request, a connection, or a command. A text is the `path`, a number
    the `port`, a list the `command`; `none` switches off the image's own check, too."""

    unknown_key_hint: ClassVar = "a check is a path, a port or a command"
    misplaced: ClassVar = {
        "test": "is called `command`; write `command: [pg_isready]`",
        "retries": "isn't supported; a service is checked until `start_timeout`",
        "start_period": "is called `start_timeout`; write `start_timeout: 1m`",
        "start_interval": "is called `interval`; write `interval: 1s`",
        "disable": "is written `health: none`",
    }
    form: ClassVar = "{path: /up}"

    path: Annotated[UrlPath | None, Form("path")] = None
    """Path of a request to the port in `routed`, healthy with status 2xx or 3xx."""

    port: Annotated[PortNumber | None, Field(examples=["5432"])] = None
    """Port that must accept a TCP connection."""

    command: Words = ()
    """Command inside the instance that must exit with 0. If empty, there is none."""

    disabled: bool = False
    """Whether there is no check, not even the image's; `health: none` is short for it."""

    interval: Annotated[Duration, POSITIVE] = 1.0
    """Time between two tries."""

    timeout: Annotated[Duration, POSITIVE] = 10.0
    """Time for one try."""

    start_timeout: Annotated[Annotated[Duration, POSITIVE] | None, Form("duration")] = None
    """Time until the service must be healthy. If absent, the application's `start_timeout`."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [key for key in ("path", "port", "command") if getattr(self, key)]
        if len(given) > 1:
            refuse(((given[1],), f"conflicts with `{given[0]}`; remove one of them"))
        if given and self.disabled:
            refuse(((given[0],), "conflicts with `disabled`; remove one of them"))
        return self

    @property
    def check(self) -> ServiceCheck | None:
        """The check as a domain value; None if only its times are given, or nothing."""
        if not (self.path or self.port or self.command or self.disabled):
            return None
        return ServiceCheck(
            path=self.path or "",
            port=self.port,
            command=self.command,
            is_disabled=self.disabled,
            interval=self.interval,
            timeout=self.timeout,
            start_timeout=self.start_timeout,
        )


def _as_health(value: Any) -> Any:
    if value == "none":
        return {"disabled": True}
    if isinstance(value, list):
        return {"command": value}
    if isinstance(value, int) and not isinstance(value, bool):
        return {"port": value}
    if isinstance(value, str) and value.startswith("/"):
        return {"path": value}
    if isinstance(value, str | bool):
        raise InvalidValue(
            'should be a path such as "/up", a port, or "none"; for a command, write `{command: ...}`'
        )
    return value


OptionalHealth = Annotated[
    Health | None,
    BeforeValidator(_as_health, json_schema_input_type=Health | str | int | list[str] | None),
]
