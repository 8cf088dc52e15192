"""Routing as the settings define it: the edge proxy, and URLs."""

from __future__ import annotations

import sys
from pathlib import Path

import aiodocker

from stager.control.routing.urls import Urls
from stager.domain.errors import Retry
from stager.engines.docker.client import engine_errors
from stager.ports.router import EdgeProxy
from stager.ports.store import Store
from stager.settings.model import Settings
from stager.settings.sections.serving import Haproxy as HaproxySettings
from stager.settings.sections.serving import Nginx as NginxSettings
from stager.state import StateDirectory


def urls_of(settings: Settings, store: Store, listen: str) -> Urls:
    """URLs of previews.

    Args:
        listen: where the front listens, with its actual port.
    """
    port = listen.rpartition(":")[2]
    return Urls(
        store,
        domain=settings.domain,
        preview_domain=settings.preview_domain,
        fallback=f"localhost:{port}",
        scheme=settings.scheme,
        template=settings.host_template,
        slugs=settings.slug,
    )


async def edge_proxy_of(settings: Settings, state: StateDirectory) -> EdgeProxy | None:
    """The proxy in front of the front; None if there is none.

    Raises:
        Fault: the template of its configuration is invalid.
    """
    match settings.routing_strategy:
        case "NginxRoutingStrategy" if settings.nginx.target_dir is not None:
            return await _nginx(settings.nginx, settings.nginx.target_dir, state)
        case "HaproxyRoutingStrategy" if settings.haproxy.target_path is not None:
            front = str(settings.listen.local)
            return await _haproxy(settings.haproxy, settings.haproxy.target_path, front, state)
        case _:
            return None


# Imported late: with Jinja, slow.


async def _nginx(nginx: NginxSettings, folder: Path, state: StateDirectory) -> EdgeProxy:
    from stager.routers.nginx import Nginx, NginxRouter, load_template  # noqa: PLC0415 (only if configured)

    scratch = state.path / "nginx"
    router = NginxRouter(
        template=load_template(nginx.template_path),
        folder=folder,
        scratch=scratch,
        installation=state.installation,
        nginx=Nginx(scratch, nginx.test_command, nginx.reload_command),
    )
    await router.check()
    return router


async def _haproxy(haproxy: HaproxySettings, path: Path, front: str, state: StateDirectory) -> EdgeProxy:
    from stager.routers.haproxy import Haproxy, HaproxyRouter, Site, Target, load_template  # noqa: PLC0415 (only if configured)

    router = HaproxyRouter(
        template=load_template(haproxy.template_path),
        site=Site(haproxy.bind, front),
        target=Target(path, state.path / "haproxy", state.installation),
        haproxy=Haproxy(haproxy.test_command, haproxy.reload_command),
    )
    await router.check()
    return router


async def reaches_by_loopback(settings: Settings, docker: aiodocker.Docker) -> bool:
    """Whether containers must publish a port on the loopback interface. With Docker Desktop they run in a
    virtual machine, and their addresses can't be reached from this one."""
    if settings.engine.connect_via != "auto":
        return settings.engine.connect_via == "loopback"
    if sys.platform != "linux":
        return True
    try:
        with engine_errors():
            facts = await docker.system.info()
    except Retry:
        return False
    return "Docker Desktop" in str(facts.get("OperatingSystem", ""))
