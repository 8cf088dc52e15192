"""Whether the root helper is used, by the settings and by what is there when Stager starts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

import structlog

from stager.control.routing.urls import Urls
from stager.domain.egress import Egress
from stager.domain.errors import Fault, Retry, StagerError
from stager.domain.profile import ProfileName
from stager.engines.docker import HelperFirewall
from stager.helper_client import HelperClient
from stager.settings.model import Settings
from stager.state import StateDirectory

log = structlog.get_logger(__name__)

SOON = 10.0
"""Seconds that a helper has to come, where Stager doesn't start without it: both may just be starting."""
PAUSE = 0.25
FIREWALL = "firewall"
BUILDER = "builder"
SHARED = "Code from forks is built beside trusted code, and can change what trusted builds make."
NOT_BUILT = "Code from forks isn't built."
OFF = "Previews reach services of this machine and its private networks."
HINT = "docs/how-to/root-helper.md says how to install it; `helper: off` says that it isn't wanted."


@dataclass(frozen=True, slots=True)
class Standing:
    """What became of the helper.

    Args:
        client: None where it isn't used.
        why_not: why it isn't, as a sentence.
        features: what it has, each with why it isn't available; empty where it is.
    """

    client: HelperClient | None
    why_not: str = ""
    features: dict[str, str] | None = None

    def lacks(self, feature: str) -> str:
        """Why this feature isn't available, as a sentence; empty if it is."""
        if self.client is None:
            return self.why_not
        return (self.features or {}).get(feature, f"This helper has no {feature}.")


async def helper_of(settings: Settings, state: StateDirectory) -> Standing:
    """The helper, asked what it can do. The log tells what is off without it.

    Raises:
        Fault: it isn't there, or can't guard previews, and Stager may not start so.
    """
    standing = await _standing(settings, must=settings.helper == "required" or _was_used(settings, state))
    if lack := standing.lacks(FIREWALL):
        log.warning("helper_off", firewall=OFF, why=lack)
    else:
        state.guarded.touch()
        log.info("helper_used", socket=str(settings.helper_socket))
    if settings.builds_forks:
        _tell_of_builder(settings, standing.lacks(BUILDER))
    return standing


def _tell_of_builder(settings: Settings, lack: str) -> None:
    if settings.forks.unsafe_shared_builder:
        log.warning("untrusted_builder_off", builds=SHARED, why="`forks.unsafe_shared_builder` is on.")
    elif lack:
        log.warning("untrusted_builder_off", builds=NOT_BUILT, why=lack)


def firewall_of(
    standing: Standing, settings: Settings, state: StateDirectory, ports: Callable[[], Sequence[int]]
) -> HelperFirewall | None:
    """What guards previews; None where nothing does."""
    if standing.client is None or standing.lacks(FIREWALL):
        return None
    applications = settings.applications

    def egress_of(app: str, profile: ProfileName) -> Egress:
        # Instances of an application that is no longer configured may still run.
        application = applications.find(app)
        return application.profile(profile).egress if application else Egress("internet")

    return HelperFirewall(
        standing.client,
        state.installation,
        ports,
        egress_of,
        builder_allow=settings.forks.registries,
    )


def public_ports(settings: Settings, listen: str, urls: Urls) -> list[int]:
    """The machine's ports at which visitors come in.

    Args:
        listen: where the front listens, with the port that it really has.
    """
    listeners = [listen, *([str(settings.tls.listen)] if settings.tls else [])]
    ports = {int(port) for host, _, port in (each.rpartition(":") for each in listeners) if _is_open(host)}
    for authority in (urls.authority, urls.home.partition("://")[2]):
        port = authority.rpartition(":")[2]
        ports.add(int(port) if port.isdigit() else 443 if settings.scheme == "https" else 80)
    return sorted(ports - {0})


def _is_open(host: str) -> bool:
    """Whether what listens there can be reached from elsewhere."""
    try:
        return not ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host != "localhost"


def _was_used(settings: Settings, state: StateDirectory) -> bool:
    if settings.helper == "off":
        state.guarded.unlink(missing_ok=True)
    return state.guarded.exists()


async def _standing(settings: Settings, *, must: bool) -> Standing:
    if settings.helper == "off":
        return Standing(None, "`helper: off` in the configuration.")
    if not settings.engine.socket.startswith("unix://"):
        return _without("Docker runs on another machine, where no helper of this one guards.", must=must)
    client = HelperClient(settings.helper_socket)
    # One that is there and doesn't answer is about to, or broken; neither is a reason to do without.
    insists = must or os.access(settings.helper_socket, os.R_OK | os.W_OK)
    try:
        features = await _hello(client, patience=SOON if insists else 0.0)
    except StagerError as error:
        return _without(_why(settings, error), must=insists)
    if must and features.get(FIREWALL, "none"):
        raise _missing(f"The root helper can't guard previews: {features.get(FIREWALL, 'it is too old')}")
    return Standing(client, "", features)


async def _hello(client: HelperClient, patience: float) -> dict[str, str]:
    """What it has. Raises `StagerError`."""
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        try:
            told = await client.call("hello")
        except Retry:
            if asyncio.get_running_loop().time() >= deadline:
                raise
            await asyncio.sleep(PAUSE)
        else:
            return {str(name): str(lack) for name, lack in told["features"].items()}


def _why(settings: Settings, error: StagerError) -> str:
    path = settings.helper_socket
    if not path.exists():
        return f"There is no root helper at {path}."
    if not os.access(path, os.R_OK | os.W_OK):
        return f"The root helper's socket {path} isn't for this user."
    return error.message


def _without(why: str, *, must: bool) -> Standing:
    if must:
        raise _missing(why)
    return Standing(None, why)


def _missing(why: str) -> Fault:
    return Fault(
        f"helper: {why} Previews aren't started unguarded where it is there, was used before or is required.",
        hint=HINT,
        reason="helper-missing",
    )
