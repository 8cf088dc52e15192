"""The registry's own API (https://distribution.github.io/distribution/spec/api/), for what Docker's API has
no call for: listing and deleting."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from typing import Any

import aiodocker
import aiohttp

from stager.engines.docker.client import engine_errors
from stager.engines.swarm.registry.credentials import Credentials
from stager.engines.swarm.registry.errors import registry_away, registry_error

TIMEOUT = aiohttp.ClientTimeout(total=30)
PAGE = 500
"""Tags per request. Registries allow 1000 and more."""
MANIFESTS = ", ".join(
    (
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
    )
)
"""Without these, a registry answers with a converted manifest and its digest."""


class RegistryApi:
    """One repository of a registry. Each method raises `Retry` or `Fault` if the registry doesn't answer.

    Args:
        base: the registry's URL.
        repository: the name, without the registry.
    """

    def __init__(self, session: aiohttp.ClientSession, base: str, repository: str) -> None:
        self._session = session
        self._registry = base.partition("://")[2]
        self._url = f"{base}/v2/{repository}"

    async def tags(self) -> list[str]:
        """All tags; empty if the repository doesn't exist."""
        found: list[str] = []
        while True:
            page = await self._page(found[-1] if found else "")
            found += page
            if len(page) < PAGE:
                return found

    async def _page(self, last: str) -> list[str]:
        params = {"n": str(PAGE), **({"last": last} if last else {})}
        async with self._request("GET", "tags/list", params=params) as response:
            return [] if response.status == 404 else list((await response.json())["tags"] or ())

    async def digest(self, tag: str) -> str:
        """The digest of this tag's manifest; empty if there is none."""
        async with self._request("HEAD", f"manifests/{tag}", headers={"Accept": MANIFESTS}) as response:
            return "" if response.status == 404 else response.headers.get("Docker-Content-Digest", "")

    async def delete(self, digest: str) -> bool:
        """Delete a manifest with all its tags. Returns whether the registry allows that. It frees the disk
        only with its own garbage collection."""
        async with self._request("DELETE", f"manifests/{digest}") as response:
            return response.status != 405

    @asynccontextmanager
    async def _request(self, method: str, path: str, **options: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self._session.request(method, f"{self._url}/{path}", **options) as response:
                if response.status in {401, 403}:
                    raise registry_error(self._registry, "unauthorized")
                if response.status >= 400 and response.status not in {404, 405}:
                    raise registry_away(self._registry, f"{method} {path}: status {response.status}")
                yield response
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise registry_away(self._registry, str(error)) from error


@asynccontextmanager
async def registry_api(
    docker: aiodocker.Docker, credentials: Credentials, repository: str
) -> AsyncIterator[RegistryApi]:
    """The API of a repository, by the protocol that the engine uses for the registry.

    Args:
        repository: its name, without the registry.

    Raises:
        Retry: the engine or the registry doesn't answer.
    """
    with engine_errors():
        known = (await docker.system.info()).get("RegistryConfig") or {}
    is_secure = not is_insecure(known, credentials.server)
    async with aiohttp.ClientSession(
        headers=credentials.authorization,
        timeout=TIMEOUT,
        connector=aiohttp.TCPConnector(ssl=is_secure),
    ) as session:
        scheme = "https" if is_secure or await _speaks_tls(session, credentials.server) else "http"
        yield RegistryApi(session, f"{scheme}://{credentials.server}", repository)


async def _speaks_tls(session: aiohttp.ClientSession, server: str) -> bool:
    """Whether a registry that needn't use TLS does. Docker tries it first, too."""
    try:
        async with session.get(f"https://{server}/v2/"):
            return True
    except (TimeoutError, aiohttp.ClientError, OSError):
        return False


def is_insecure(known: Mapping[str, Any], server: str) -> bool:
    """Whether the engine uses a registry without checking its certificate.

    Args:
        known: `RegistryConfig` of the engine.
        server: host and port of the registry.
    """
    listed = (known.get("IndexConfigs") or {}).get(server)
    if listed is not None:
        return not listed.get("Secure", True)
    host = server.rpartition(":")[0].strip("[]")
    try:
        address = ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return False
    return any(address in ip_network(network) for network in known.get("InsecureRegistryCIDRs") or ())
