"""Routing as the settings define it: the edge proxy, and URLs."""

from __future__ import annotations

import sys

import aiodocker

from stager.control.routing.urls import Urls
from stager.domain.errors import Retry
from stager.engines.docker.client import engine_errors
from stager.ports.router import EdgeProxy
from stager.ports.store import Store
from stager.settings.model import Settings
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
        Fault: the template of vhost files is invalid.
    """
    nginx = settings.nginx
    if settings.routing_strategy != "NginxRoutingStrategy" or nginx.target_dir is None:
        return None
    from stager.routers.nginx import Nginx, NginxRouter, load_template  # noqa: PLC0415 (with Jinja, slow)

    scratch = state.path / "nginx"
    router = NginxRouter(
        template=load_template(nginx.template_path),
        folder=nginx.target_dir,
        scratch=scratch,
        installation=state.installation,
        nginx=Nginx(scratch, nginx.test_command, nginx.reload_command),
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
