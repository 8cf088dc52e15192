"""Limits of the installation, plugins, and operation: state, engine, networks, metrics and logs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from stager.settings.loading.context import Context, FolderPath, NameOf
from stager.settings.loading.refusals import InvalidValue, refuse
from stager.settings.sections.capacity import CapacitySettings
from stager.settings.sections.engine import Engine
from stager.settings.sections.pictures import PictureSettings
from stager.settings.values.network import Network, NetworkV4
from stager.settings.values.scalars import NOT_BOOLEAN, ONE_OR_MANY, POSITIVE, Duration
from stager.settings.values.section import Section, Task

HANDOVER_SOCKET = Path("front", "handover.sock")
MAX_SOCKET_PATH = 100
"""Unix allows 107 bytes on Linux and 103 on macOS."""

MIN_RETENTION = 3600.0
"""Seconds: removing a preview may take a while, and its record is needed until it is done."""


class LimitSettings(Task):
    """Limits of one instance are set under `defaults` for all applications, or under an entry of `images` for
    one. `capacity` limits what all previews use together: at a limit, previews that nobody visits sleep, and
    a further one waits in a queue. `max_previews` limits the number of previews: a further one replaces
    another."""

    title: ClassVar = "Limits"
    nested: ClassVar[tuple[str, ...]] = ("defaults",)
    example: ClassVar = """\
defaults:
  memory: 1g
  cpus: 2
  start_timeout: 2m
  egress: internet
images:
  shop:
    port: 3000
    memory: 4g
capacity:
  max_running: 20
  application: {max_running: 10}
  author: {max_running: 3}
max_previews: 100
container_rotation_strategy: EvergreenExceptionsContainerRotationStrategy
evergreen_containers: [main]
"""

    max_previews: Annotated[int | None, Field(ge=1, validate_default=True), NOT_BOOLEAN] = None
    """Maximum number of previews; a further one evicts the oldest. If absent, the number of ports from
    `MIN_PORT` to `MAX_PORT` if one of these environment variables is set; with `nginx.target_dir` or
    `haproxy.target_path`, the number of `ingress_ports`; otherwise unlimited."""

    capacity: CapacitySettings = CapacitySettings()
    """How many previews run at once, and what they leave free."""

    container_rotation_strategy: Annotated[
        tuple[Annotated[str, NameOf("container_rotation_strategy")], ...],
        ONE_OR_MANY,
        Field(max_length=1),
    ] = ()
    """Class that chooses the preview to evict; if empty, the oldest."""

    @field_validator("max_previews")
    @classmethod
    def _as_many_as_ports(cls, count: int | None, info: ValidationInfo) -> int | None:
        environ = Context.of(info).environ
        counts = any(environ.get(name) for name in ("MIN_PORT", "MAX_PORT"))
        if count is None and counts and "ingress_ports" in info.data:
            return len(tuple(info.data["ingress_ports"]))
        return count


class Handlers(Section):
    """Settings of pluggable classes, each under the name of its class."""

    unknown_key_hint: ClassVar = "the keys are names of classes that have settings"


class Notifications(Task):
    """Handlers run before and after launches and before removals. [Handlers](handlers.md) lists the built-in
    classes, [Write a plugin](../how-to/write-a-plugin.md) describes how to add your own."""

    title: ClassVar = "Notifications and other handlers"
    example: ClassVar = """\
pre_launch_handlers: RequireVariables
post_launch_handlers:
  - NotifyOnLaunch
  - PostToSlackOnLaunch
notify:
  urls: ["mailto://stager:${SMTP_PASSWORD}@example.org"]
slack:
  webhook_url: https://hooks.slack.com/services/T0000/B0000/XXXXXXXX
  channel: "#previews"
handlers:
  RequireVariables:
    names: [DATABASE_URL]
"""

    pre_launch_handlers: Annotated[
        tuple[Annotated[str, NameOf("pre_launch_handlers")], ...],
        ONE_OR_MANY,
    ] = ()
    """Handlers to run before a launch; each may add parameters or reject the launch."""

    post_launch_handlers: Annotated[
        tuple[Annotated[str, NameOf("post_launch_handlers")], ...],
        ONE_OR_MANY,
    ] = ()
    """Handlers to run after a launch, when the preview is live. An empty list also switches the pull-request
    comment off."""

    pre_kill_handlers: Annotated[
        tuple[Annotated[str, NameOf("pre_kill_handlers")], ...],
        ONE_OR_MANY,
    ] = ()
    """Handlers to run before a preview is removed."""

    handlers: Handlers = Handlers()
    """Settings of handlers and strategies, each under the name of its class."""


class Networks(Section):
    """The addresses of instances. Each preview has networks of its own."""

    pool: NetworkV4 = Field(default="10.200.0.0/14", validate_default=True)
    """Network from which the previews' networks are allocated. It must not overlap a route of the host."""

    prefix_length: Annotated[int, Field(ge=8, le=29), NOT_BOOLEAN] = 28
    """Prefix length of a preview's network: 28 has 13 addresses for its instances. A network of several
    services is twice as large."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.prefix_length < self.pool.prefixlen:
            message = f"should be {self.pool.prefixlen} at least, to fit into the pool {self.pool}"
            refuse((("prefix_length",), message))
        return self


class Metrics(Section):
    """Access to `/metrics`."""

    allow: tuple[Network, ...] = ()
    """Networks from which `/metrics` needs no credentials, such as `127.0.0.0/8` for a Prometheus on this
    machine. Behind a trusted proxy, the client's forwarded address counts."""


def _long_enough(seconds: float) -> float:
    if seconds < MIN_RETENTION:
        raise InvalidValue('should be "1h" at least')
    return seconds


class Operation(Task):
    """State, engine, intervals, metrics and logs. [Operate Stager](../how-to/operate-stager.md) describes
    backups, monitoring and what grows."""

    title: ClassVar = "Operation"
    example: ClassVar = """\
state_dir: /var/lib/stager
engine:
  socket: unix:///var/run/docker.sock
network:
  pool: 10.200.0.0/14
reconcile_interval: 30s
retention: 14d
metrics:
  allow: [127.0.0.0/8]
mcp: true
pictures:
  image: stager-base/chromium:1
  widths: [1280, 375]
log_format: json
"""

    state_dir: FolderPath = Field(default=Path(".stager"), validate_default=True)
    """Folder for everything that Stager writes, relative to the configuration file."""

    engine: Engine = Field(default=Engine(), validate_default=True)
    """The container engine."""

    network: Networks = Networks()
    """The addresses of instances."""

    reconcile_interval: Annotated[Duration, POSITIVE] = 60.0
    """Interval of the full reconciliation. Events trigger reconciliation immediately."""

    retention: Annotated[Duration, AfterValidator(_long_enough)] = 30 * 86_400.0
    """How long the records and logs of removed previews are kept; at least `1h`."""

    access_log: bool = True
    """Whether requests to previews are logged."""

    metrics: Metrics = Metrics()
    """Access to `/metrics` without credentials."""

    mcp: bool = False
    """Whether coding agents may use Stager at `/mcp`, by the Model Context Protocol and with a person's
    token. See [Let a coding agent use previews](../how-to/coding-agents.md)."""

    pictures: PictureSettings = PictureSettings()
    """Pictures of each preview's pages."""

    log_format: Literal["auto", "json", "text"] = "auto"
    """Format of Stager's log: `json` is one object per line, `auto` is text on a terminal and JSON
    otherwise."""

    @field_validator("state_dir")
    @classmethod
    def _fits_sockets(cls, folder: Path) -> Path:
        length = len(bytes(folder / HANDOVER_SOCKET))
        if length > MAX_SOCKET_PATH:
            raise ValueError(
                f"is too long by {length - MAX_SOCKET_PATH} bytes for the sockets in it ({folder}); choose a"
                " shorter path"
            )
        return folder

    @field_validator("engine")
    @classmethod
    def _with_address(cls, engine: Engine, info: ValidationInfo) -> Engine:
        return engine.resolved(Context.of(info).environ)
