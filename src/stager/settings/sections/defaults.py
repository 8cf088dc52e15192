"""Settings that `defaults` gives for all applications and an entry of `images` for one."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, field_validator

from stager.domain.profile import Egress, Limits, Reach
from stager.settings.loading.refusals import InvalidValue
from stager.settings.sections.access import OptionalPrivate
from stager.settings.values.network import OneDestination
from stager.settings.values.scalars import NOT_BOOLEAN, POSITIVE, Duration, DurationOrNever, Size
from stager.settings.values.section import Section

MIB = 1 << 20
MIN_MEMORY = 6 * MIB
"""Docker's minimum for a container."""


SHORTEST_LIFE = 3600.0
"""Seconds. Half of it is left for people to react to the warning."""


def _long_enough_to_warn(seconds: float | None) -> float | None:
    if seconds is not None and seconds < SHORTEST_LIFE:
        raise InvalidValue('should be "1h" at least, or "never"')
    return seconds


class Defaults(Section):
    """Limits, timeouts and access: under `defaults` for all applications, under an entry of `images` for
    one."""

    memory: Size = 512 * MIB
    """Memory limit of an instance; at least `6m`."""

    cpus: Annotated[float, Field(ge=0.01, allow_inf_nan=False, examples=["0.5"]), NOT_BOOLEAN] = 1.0
    """CPU limit of an instance, in cores."""

    pids: Annotated[int, Field(ge=1), NOT_BOOLEAN] = 256
    """Maximum number of processes and threads of an instance."""

    log_size: Annotated[Size, POSITIVE] = 10 * MIB
    """How much of an instance's output is kept."""

    start_timeout: Annotated[Duration, POSITIVE] = 300.0
    """Time until an instance must be healthy."""

    probe_timeout: Annotated[Duration, POSITIVE] = 10.0
    """Time for one response to a health check. Increase it for an application that compiles on demand."""

    drain_timeout: Duration = 30.0
    """After a refresh, time that requests to the old instance have to finish."""

    stop_grace_period: Duration = 10.0
    """Time between SIGTERM and SIGKILL when an instance is stopped."""

    expire_after: Annotated[DurationOrNever, AfterValidator(_long_enough_to_warn)] = 14 * 86_400.0
    """Time without visits and pushes after which a preview [expires](../how-to/life-of-a-preview.md): it is
    stopped, and its data is removed. `never`: it stays until its pull request is closed. At least `1h`."""
    sleep_after: Annotated[DurationOrNever, Field(examples=["never"])] = 1_800.0
    """Time without a request after which a preview sleeps: its instances are paused until the next request. A
    WebSocket or an event stream counts as long as it is open. `never`: previews don't sleep."""

    stop_after: Annotated[DurationOrNever, Field(examples=["never"])] = 86_400.0
    """Time asleep after which the instances of a preview are stopped, so that they need no memory at all. The
    next request then starts them. `never`: they stay paused."""

    private: OptionalPrivate = None
    """Who may see previews: a method such as `sign-in`, a list of methods, or a mapping. If absent, previews
    are public."""

    public_logs: bool = True
    """Whether the page in place of a public preview shows the last lines of a log, of a running build or of
    a failure, to every visitor. If `false`, people who may read logs find them on Stager's own page. The page
    of a private preview always shows them to those who may open the preview."""

    index: bool = False
    """Whether search engines may list previews. If `false`, each response has the header
    `X-Robots-Tag: noindex`."""

    egress: Reach = "private"
    """What previews may connect to; enforced by the root helper. `private`: private networks and the
    internet; `internet`: the internet only; `none`: nothing. Code from forks never reaches private
    networks."""

    egress_allow: Annotated[tuple[OneDestination, ...], Field(max_length=16)] = ()
    """Destinations that previews may reach in addition, each as `host:port`: a service on this machine, or a
    database in a private network. Names are resolved again every minute. At most 16."""

    @field_validator("memory")
    @classmethod
    def _enough(cls, memory: int) -> int:
        if memory < MIN_MEMORY:
            raise ValueError('should be "6m" at least, which is Docker\'s minimum')
        return memory

    @property
    def outbound(self) -> Egress:
        """The egress settings as a domain value."""
        return Egress(self.egress, self.egress_allow)

    @property
    def limits(self) -> Limits:
        """The resource limits as a domain value."""
        return Limits(self.memory, self.cpus, self.pids, self.log_size)

    def over(self, defaults: Defaults) -> Self:
        """Return these settings, completed by `defaults` where a key isn't given here."""
        missing = defaults.model_fields_set - self.model_fields_set
        return self.model_copy(update={name: getattr(defaults, name) for name in missing})
