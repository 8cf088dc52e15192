"""The front as the settings define it. Imports no driver, so that a front can be started first."""

from __future__ import annotations

from stager.front.http.limits import Limits
from stager.front.process.launcher import FrontOptions
from stager.settings.model import Settings


def front_options(settings: Settings) -> FrontOptions:
    """Options of the front."""
    tls = settings.tls
    return FrontOptions(
        listen=str(settings.listen),
        tls_listen=str(tls.listen) if tls else "",
        tls_certificate=str(tls.certificate) if tls else "",
        tls_key=str(tls.key) if tls else "",
        trusted_proxies=tuple(str(network) for network in settings.trusted_proxies),
        access_log=settings.access_log,
        limits=Limits(response_seconds=settings.response_timeout, wake_seconds=settings.wake_timeout),
    )
