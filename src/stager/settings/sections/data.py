"""How an application's snapshots are made, and who may."""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PlainSerializer, PlainValidator, field_validator, model_validator

from stager.domain.identity.roles import Role
from stager.domain.snapshot import DataRules, Schedule
from stager.settings.loading.refusals import InvalidValue, refuse
from stager.settings.sections.services.values import name_problem
from stager.settings.sections.sign_in import RoleName
from stager.settings.values.scalars import NOT_BOOLEAN, POSITIVE, Duration, Form
from stager.settings.values.section import Section, Task

_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


def read_time(value: object) -> time:
    """Parse a time of day: `"03:00"`.

    Raises:
        InvalidValue: it is something else.
    """
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise InvalidValue('should be a time of day in quotes, such as "03:00"')
    return time(int(found[1]), int(found[2]))


TimeOfDay = Annotated[
    time,
    PlainValidator(read_time, json_schema_input_type=str),
    PlainSerializer(lambda value: f"{value:%H:%M}"),
    Form("time"),
]


class SnapshotSchedule(Section):
    """A snapshot every day, from a preview or by a command."""

    form: ClassVar = '{at: "03:00", preview: main}'

    at: TimeOfDay = time(3)
    """Time of day in the server's time zone, in quotes: without them, YAML reads some times as numbers."""

    preview: str = ""
    """Name of the preview that the snapshot is made from. Its services with volumes are stopped for the
    moment of the copy."""

    run: str = ""
    """Command for `sh -c` that fills the data of a new environment, which is removed afterwards."""

    branch: str = ""
    """Branch or tag whose code runs `run`; required with `build`."""

    @model_validator(mode="after")
    def _one_source(self) -> SnapshotSchedule:
        if bool(self.preview) == bool(self.run):
            refuse((("preview",), "or `run` should be given, and not both"))
        if self.branch and not self.run:
            refuse((("branch",), "has no effect without `run`; remove it"))
        return self

    @property
    def schedule(self) -> Schedule:
        """The schedule as a domain value."""
        return Schedule(self.at, self.preview, self.run, self.branch)


class Data(Section):
    """How snapshots of the application's volumes are made, and who may."""

    form: ClassVar = "{keep: 5}"
    unknown_key_hint: ClassVar = "the policy of a volume goes under `volumes`"

    keep: Annotated[int, Field(ge=1, le=1_000), NOT_BOOLEAN] = 5
    """How many snapshots are kept. Older ones are deleted, except the current one and those with a name."""

    mask: dict[str, str] = Field(default_factory=dict, examples=['{database: "psql -f /mask.sql"}'])
    """Scripts by the name of the service, for `sh -c`. Each runs in its service, on a copy without a network,
    and must exit with 0; otherwise the snapshot is removed."""

    mask_timeout: Annotated[Duration, POSITIVE] = 600.0
    """Time for one script of `mask`, and for the start of its service."""

    forks: Literal["deny", "allow"] = "deny"
    """Whether code from forks gets the data of new snapshots. With `deny`, its volumes start empty."""

    durability: Literal["full", "relaxed"] = "full"
    """With `relaxed`, databases of the catalogue whose volumes have the policy `clone` or `fresh` don't wait
    for the disk: faster writes, but a crash of the machine may break their data, until the next push or
    reset."""

    min_role: RoleName = Role.DEVELOPER
    """Minimum role for the application to create, choose, download and delete snapshots."""

    schedule: SnapshotSchedule | None = None
    """A snapshot every day."""

    @field_validator("mask")
    @classmethod
    def _scripts(cls, mask: dict[str, str]) -> dict[str, str]:
        for name, script in mask.items():
            if name_problem(name):
                refuse(((name,), 'should be a name of a service such as "database"'))
            if not script.strip():
                refuse(((name,), "is an empty script, which masks nothing; remove the key"))
        return mask

    @model_validator(mode="after")
    def _some_role(self) -> Data:
        if self.min_role not in (Role.DEVELOPER, Role.ADMINISTRATOR):
            refuse((("min_role",), "should be developer or administrator"))
        return self

    @property
    def rules(self) -> DataRules:
        """The settings as a domain value."""
        return DataRules(
            keep=self.keep,
            mask=self.mask,
            mask_timeout=self.mask_timeout,
            forks_allowed=self.forks == "allow",
            min_role=self.min_role,
            is_relaxed=self.durability == "relaxed",
            schedule=self.schedule.schedule if self.schedule else None,
        )


class PreviewData(Task):
    """A volume with the policy `clone` starts as a copy of the application's current snapshot.
    [Previews with real data](../how-to/real-data.md) describes the steps. Such previews are private unless
    the application sets `private`; see [Who may see previews](#who-may-see-previews)."""

    title: ClassVar = "Data of previews"
    nested: ClassVar[tuple[str, ...]] = ("data", "data.schedule")
    example: ClassVar = """\
images:
  shop:
    port: 3000
    services:
      database: postgres:16
    volumes: {database-data: clone}
    data:
      keep: 3
      mask:
        database: |
          psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -v ON_ERROR_STOP=1 \\
            -c "UPDATE customers SET email = 'customer' || id || '@example.org'"
      schedule: {at: "03:00", preview: main}
      min_role: administrator
"""
