"""The checks that a configuration needs, for `stager doctor` and for the server's own diagnostics."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from stager.certificates.diagnostics import AcmeCheck
from stager.checks.certificate import CertificateCheck
from stager.checks.data import DataCheck
from stager.checks.dns import DnsCheck
from stager.checks.helper import HelperCheck
from stager.checks.machine import DiskCheck, PortCheck
from stager.data_pool import DataPool
from stager.domain.route import normalise_host
from stager.engines.docker.diagnostics import BuildCheck, DockerCheck, UntrustedBuildCheck
from stager.engines.docker.memory_check import MemoryCheck
from stager.engines.docker.network.pool import tag_of
from stager.engines.swarm.diagnostics import RegistryCheck, SwarmCheck
from stager.forges.github.account import GithubServer
from stager.forges.github.app_setup.keyring import Keyring, app_in_force
from stager.forges.github.diagnostics import GithubCheck
from stager.helper_client import HelperClient
from stager.ports.diagnostics import Check
from stager.routers.haproxy.commands import Haproxy
from stager.routers.haproxy.diagnostics import HaproxyCheck
from stager.routers.nginx.commands import Nginx
from stager.routers.nginx.diagnostics import NginxCheck
from stager.settings.model import Settings
from stager.settings.sections.https import Tls
from stager.state import StateDirectory


def checks_for(
    settings: Settings, state: StateDirectory, *, is_up: bool, domain: Callable[[], str] | None = None
) -> Iterator[Check]:
    """Yield the checks for a configuration.

    Args:
        is_up: whether Stager's front runs.
        domain: returns the domain of the previews, empty while it is unknown; by default that of `settings`.
    """
    yield DockerCheck(settings.engine.socket)
    if settings.is_swarm:
        yield from _of_swarm(settings, state)
    if any(app.build for app in settings.images.values()):
        yield BuildCheck(settings.engine.socket, settings.builds.cgroup_parent)
    if settings.builds_forks:
        is_off = settings.helper == "off"
        helper = None if is_off else HelperClient(settings.helper_socket)
        yield UntrustedBuildCheck(helper, is_shared=settings.forks.unsafe_shared_builder)
    if not settings.is_swarm:
        yield from _of_one_machine(settings, state)
    yield DiskCheck(state.path)
    yield PortCheck(settings.listen.host, settings.listen.port, is_ours=is_up)
    if settings.tls:
        yield PortCheck(settings.tls.listen.host, settings.tls.listen.port, is_ours=is_up)
        yield from _certificates(settings.tls, state)
    yield DnsCheck(domain or (lambda: normalise_host(settings.previews) if settings.previews else ""))
    if settings.routing_strategy == "NginxRoutingStrategy" and settings.nginx.target_dir is not None:
        nginx = settings.nginx
        yield NginxCheck(Nginx(state.path / "nginx", nginx.test_command, nginx.reload_command))
    haproxy = settings.haproxy
    if settings.routing_strategy == "HaproxyRoutingStrategy" and haproxy.target_path is not None:
        yield HaproxyCheck(Haproxy(haproxy.test_command, haproxy.reload_command), haproxy.target_path)
    if any(app.repo_owner for app in settings.images.values()) or state.github_app.exists():
        yield _github(settings, state)


def _of_one_machine(settings: Settings, state: StateDirectory) -> Iterator[Check]:
    yield HelperCheck(
        settings.helper,
        settings.helper_socket,
        tag_of(state.installation) if state.path.exists() else "",
        was_used=state.guarded.exists(),
    )
    yield DataCheck(None if settings.helper == "off" else DataPool(settings.helper_socket))
    yield MemoryCheck(
        settings.engine.socket, None if settings.helper == "off" else HelperClient(settings.helper_socket)
    )


def _of_swarm(settings: Settings, state: StateDirectory) -> Iterator[Check]:
    installation = state.installation if state.path.exists() else ""
    yield SwarmCheck(settings.engine.socket, f"stager.ready.{installation}")
    yield RegistryCheck(settings.engine.socket, settings.engine.registry, installation)


def _certificates(tls: Tls, state: StateDirectory) -> Iterator[Check]:
    if tls.acme is not None:
        yield AcmeCheck(state.certificates_of(tls.acme.directory), tls.acme.certificates_per_week)
    if tls.certificate is not None:
        yield CertificateCheck(tls.certificate)


def _github(settings: Settings, state: StateDirectory) -> GithubCheck:
    given, outgoing = settings.github, settings.github.outgoing_auth
    return GithubCheck(
        GithubServer(given.api_url, given.web_url),
        outgoing.user,
        outgoing.password.reveal(),
        lambda: app_in_force(given.app_id, given.private_key.reveal(), Keyring(state.github_app)),
    )
