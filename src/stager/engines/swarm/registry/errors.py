"""Errors of the registry, from the engine's words and from its own answers."""

from __future__ import annotations

import re

from stager.domain.errors import Fault, Retry, StagerError

_DENIED = re.compile(r"unauthorized|denied|no basic auth credentials|authentication required", re.IGNORECASE)
_NO_TLS = re.compile(r"server gave HTTP response to HTTPS client|x509|certificate", re.IGNORECASE)


def registry_error(registry: str, words: str) -> StagerError:
    """The error for what Docker says about a registry.

    Args:
        registry: `host:port`, with a path if one is configured.
    """
    if _DENIED.search(words):
        return Fault(
            f"The registry {registry} doesn't accept Stager's credentials.",
            hint="Run `docker login` as the user that runs Stager. Credential helpers aren't used.",
            reason="registry-refused",
            detail=words,
        )
    if _NO_TLS.search(words):
        return Fault(
            f"Docker doesn't trust the registry {registry}.",
            hint="Give it a certificate that all nodes trust, or add it to `insecure-registries` in"
            " /etc/docker/daemon.json on all nodes.",
            reason="registry-refused",
            detail=words,
        )
    return registry_away(registry, words)


def registry_away(registry: str, words: str) -> Retry:
    """The error for a registry that doesn't answer, or not as a registry does."""
    return Retry(
        f"The registry {registry} doesn't take the image of this preview.",
        hint="Check that it runs, that this machine reaches it, and that its disk isn't full.",
        reason="registry-away",
        detail=words,
    )
