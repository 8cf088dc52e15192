"""Links to single pictures that work without signing in, for the images in a pull request's comment: the
forge's image proxy fetches them."""

from __future__ import annotations

import base64
import hmac
import re
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit

from stager.control.ports import Ports
from stager.control.routing.package import Routing
from stager.domain.environment import ChangeLink, Environment
from stager.domain.errors import Refused
from stager.domain.pictures import InComments
from stager.domain.source import forge_of
from stager.ports.pictures import Album

LIFETIME = timedelta(days=30)
"""From when the pictures were taken."""
PATH = "/pictures"
RECENT = 20
"""The newest deliveries. If one is of the pull request's forge, the forge reaches this server."""
NOT_PUBLIC = (".localhost", ".local", ".internal", ".test", ".example", ".invalid", ".lan", ".home.arpa")
"""Names that no public DNS server has (RFC 6761, RFC 6762, RFC 8375), or that networks use for themselves."""

_LINK = re.compile(r"([A-Za-z0-9_-]{1,64})\.([0-9a-f]{64})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class PictureLinks:
    """Makes links to pictures, and finds what they lead to.

    Args:
        key: signs the links.
        shown: whose pictures are in comments.
    """

    ports: Ports
    routing: Routing
    key: bytes
    shown: InComments

    async def of_album(self, environment: Environment, change: ChangeLink, album: Album) -> dict[str, str]:
        """The URLs of an album's pictures by their keys; empty if a comment may not show them, or the forge
        can't fetch them."""
        expires = album.taken_at + LIFETIME
        is_expired = expires <= self.ports.clock.now()
        if is_expired or not self._may_show(environment) or not await self._is_reachable(change):
            return {}
        return {key: self._url(environment.id, key, int(expires.timestamp())) for key in album.keys}

    async def picture(self, link: str) -> bytes:
        """The picture of a link. Raises `Refused` (404), without a difference, if the link isn't ours or is
        expired, the preview is gone or may not be shown any more, or has another picture by now."""
        found = _LINK.fullmatch(link) if link.isascii() else None
        pictures = self.ports.pictures
        # Nothing is read before the signature is verified.
        if (
            found is None
            or pictures is None
            or not hmac.compare_digest(found[4], self._signature(*found.group(1, 2, 3)))
        ):
            raise _unknown()
        environment = await self.ports.store.read(lambda tx: tx.environment(found[1]))
        is_expired = int(found[3]) <= self.ports.clock.now().timestamp()
        if (
            environment is None
            or is_expired
            or not environment.desired.is_present
            or not self._may_show(environment)
        ):
            raise _unknown()
        picture = await pictures.albums.picture(environment.id, found[2])
        if picture is None:
            raise _unknown()
        return picture

    def _may_show(self, environment: Environment) -> bool:
        """Whether anybody who has the link may see a picture of this preview."""
        if self.shown == "all":
            return True
        return self.shown == "public" and self.routing.visitor_access.privacy(environment) is None

    async def _is_reachable(self, change: ChangeLink) -> bool:
        """Whether the forge probably reaches this server: its name is public, and a delivery came from the
        forge."""
        urls = self.routing.urls
        if not urls.is_known or not is_public(urlsplit(urls.home).hostname or ""):
            return False
        forge = forge_of(change.repository_id)
        deliveries = await self.ports.store.read(lambda tx: tx.recent_deliveries(RECENT))
        return any(each.forge == forge for each in deliveries)

    def _url(self, environment_id: str, key: str, expires: int) -> str:
        signature = self._signature(environment_id, key, str(expires))
        return f"{self.routing.urls.home}{PATH}/{environment_id}.{key}.{expires}.{signature}.png"

    def _signature(self, environment_id: str, key: str, expires: str) -> str:
        message = f"stager picture\0{environment_id}\0{key}\0{expires}".encode()
        return base64.urlsafe_b64encode(hmac.digest(self.key, message, "sha256")).decode().rstrip("=")


def is_public(host: str) -> bool:
    """Whether a host may be known outside of the server's own network."""
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host and not f".{host}".endswith(NOT_PUBLIC)


def _unknown() -> Refused:
    return Refused("There is no such picture.", status=404, reason="picture-link-invalid")
