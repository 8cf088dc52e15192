"""The root helper: whether it is used, and which of its features are available."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

import structlog

from stager.control.routing.urls import Urls
from stager.domain.errors import Fault, Retry, StagerError
from stager.domain.profile import Egress, ProfileName
from stager.engines.docker import DockerMemory, HelperFirewall
from stager.engines.docker.data import DataHelper
from stager.helper_client import HelperClient
from stager.settings.model import Settings
from stager.state import StateDirectory

log = structlog.get_logger(__name__)

START_TIMEOUT = 10.0
"""Seconds to wait for a helper that is required or exists: both services may be starting."""
PAUSE = 0.25
FIREWALL = "firewall"
BUILDER = "builder"
DATA = "data"
MEMORY = "memory"
SHARED = "Code from forks shares a builder with trusted code, and can change the results of trusted builds."
NOT_BUILT = "Code from forks isn't built."
OFF = "Previews can reach services of this machine and its private networks."
HINT = "To install it, see docs/how-to/root-helper.md; to run without it, set `helper: off`."


@dataclass(frozen=True, slots=True)
class HelperStatus:
    """The status of the helper.

    Args:
        client: None if it isn't used.
        reason: why it isn't used, a sentence.
        features: why each feature is unavailable, a sentence; empty if it is available.
    """

    client: HelperClient | None
    reason: str = ""
    features: dict[str, str] | None = None

    def lacks(self, feature: str) -> str:
        """Why this feature is unavailable, a sentence; empty if it is available."""
        if self.client is None:
            return self.reason
        return (self.features or {}).get(feature, f"This helper has no {feature}.")


async def helper_of(settings: Settings, state: StateDirectory) -> HelperStatus:
    """Connect to the helper and log which protections are off without it.

    Raises:
        Fault: it is required, but doesn't run or can't apply firewall rules.
    """
    status = await _status_of(settings, must=settings.helper == "required" or _was_used(settings, state))
    if lack := status.lacks(FIREWALL):
        log.warning("helper_off", firewall=OFF, why=lack)
    else:
        state.guarded.touch()
        log.info("helper_used", socket=str(settings.helper_socket))
    if settings.builds_forks:
        _log_builder(settings, status.lacks(BUILDER))
    return status


def _log_builder(settings: Settings, lack: str) -> None:
    if settings.forks.unsafe_shared_builder:
        log.warning("untrusted_builder_off", builds=SHARED, why="`forks.unsafe_shared_builder` is on.")
    elif lack:
        log.warning("untrusted_builder_off", builds=NOT_BUILT, why=lack)


def firewall_of(
    status: HelperStatus, settings: Settings, state: StateDirectory, ports: Callable[[], Sequence[int]]
) -> HelperFirewall | None:
    """The firewall of previews; None if it isn't available."""
    if status.client is None or status.lacks(FIREWALL):
        return None
    applications = settings.applications

    def egress_of(app: str, profile: ProfileName) -> Egress:
        # Instances of an application that is no longer configured may still run.
        application = applications.find(app)
        return application.profile(profile).egress if application else Egress("internet")

    return HelperFirewall(
        status.client,
        state.installation,
        ports,
        egress_of,
        builder_allow=settings.forks.registries,
    )


def data_helper_of(status: HelperStatus) -> DataHelper:
    """The helper that keeps the data pool."""
    lack = status.lacks(DATA)
    return DataHelper(None if lack else status.client, lack)


def memory_of(status: HelperStatus, settings: Settings, state: StateDirectory) -> DockerMemory:
    """What takes the memory of sleeping previews back."""
    lack = status.lacks(MEMORY)
    return DockerMemory(settings.engine.socket, state.installation, None if lack else status.client, lack)


def public_ports(settings: Settings, listen: str, urls: Urls) -> list[int]:
    """The ports of this machine that serve visitors.

    Args:
        listen: where the front listens, with its actual port.
    """
    listeners = [listen, *([str(settings.tls.listen)] if settings.tls else [])]
    ports = {int(port) for host, _, port in (each.rpartition(":") for each in listeners) if _is_open(host)}
    for authority in (urls.authority, urls.home.partition("://")[2]):
        port = authority.rpartition(":")[2]
        ports.add(int(port) if port.isdigit() else 443 if settings.scheme == "https" else 80)
    return sorted(ports - {0})


def _is_open(host: str) -> bool:
    """Whether a server that listens there can be reached from other machines."""
    try:
        return not ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host != "localhost"


def _was_used(settings: Settings, state: StateDirectory) -> bool:
    if settings.helper == "off":
        state.guarded.unlink(missing_ok=True)
    return state.guarded.exists()


async def _status_of(settings: Settings, *, must: bool) -> HelperStatus:
    if settings.helper == "off":
        return HelperStatus(None, "`helper: off` in the configuration.")
    if settings.is_swarm:
        return HelperStatus(None, "With Docker Swarm, the root helper guards the ports of previews only.")
    if not settings.engine.socket.startswith("unix://"):
        return _without(
            "Docker runs on another machine, where this machine's helper can't apply rules.", must=must
        )
    client = HelperClient(settings.helper_socket)
    # A helper that exists but doesn't answer is starting or broken. Neither is a reason to run without it.
    is_required = must or os.access(settings.helper_socket, os.R_OK | os.W_OK)
    try:
        features = await _hello(client, patience=START_TIMEOUT if is_required else 0.0)
    except StagerError as error:
        return _without(_why(settings, error), must=is_required)
    if must and features.get(FIREWALL, "none"):
        raise _missing(
            f"The root helper can't apply firewall rules: {features.get(FIREWALL, 'its version is too old')}"
        )
    return HelperStatus(client, "", features)


async def _hello(client: HelperClient, patience: float) -> dict[str, str]:
    """Its features. Raises `StagerError`.

    Args:
        patience: seconds to wait for it.
    """
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        try:
            reply = await client.call("hello")
        except Retry:
            if asyncio.get_running_loop().time() >= deadline:
                raise
            await asyncio.sleep(PAUSE)
        else:
            return {str(name): str(lack) for name, lack in reply["features"].items()}


def _why(settings: Settings, error: StagerError) -> str:
    path = settings.helper_socket
    if not path.exists():
        return f"There is no root helper at {path}."
    if not os.access(path, os.R_OK | os.W_OK):
        return f"This user may not open the root helper's socket {path}."
    return error.message


def _without(why: str, *, must: bool) -> HelperStatus:
    if must:
        raise _missing(why)
    return HelperStatus(None, why)


def _missing(why: str) -> Fault:
    return Fault(
        f"helper: {why} Stager doesn't start without it if it exists, was used before or is required.",
        hint=HINT,
        reason="helper-missing",
    )
