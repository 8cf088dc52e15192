"""The front as the settings define it. Imports no driver, so that a front can be started first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stager.front.http.limits import Limits
from stager.front.process.launcher import FrontOptions
from stager.settings.model import Settings
from stager.settings.sections.https import Tls
from stager.state import StateDirectory

HTTPS = 443


def front_options(settings: Settings, state: StateDirectory) -> FrontOptions:
    """Options of the front."""
    tls = settings.tls
    options = FrontOptions(
        listen=str(settings.listen),
        trusted_proxies=tuple(str(network) for network in settings.trusted_proxies),
        access_log=settings.access_log,
        limits=Limits(response_seconds=settings.response_timeout, wake_seconds=settings.wake_timeout),
    )
    return replace(options, **_https(settings, tls, state)) if tls else options


def _https(settings: Settings, tls: Tls, state: StateDirectory) -> dict[str, Any]:
    """The options of HTTPS. Its port as visitors see it is in the domain, or 443. With `scheme: http`, all
    URLs that Stager gives out, such as those of webhooks, lead to HTTP, and the domain has its port."""
    port = settings.previews.partition(":")[2]
    redirects = tls.redirect and settings.scheme == "https"
    folder = state.certificates_of(tls.acme.directory) if tls.acme else ""
    return {
        "tls_listen": str(tls.listen),
        "tls_certificate": str(tls.certificate or ""),
        "tls_key": str(tls.key or ""),
        "acme_folder": str(folder),
        "https_port": (int(port) if port else HTTPS) if redirects else 0,
        "hsts": int(tls.hsts),
    }
