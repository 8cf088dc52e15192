"""An OAuth 2 client: Authlib's, imported at the first sign-in, with its errors translated to Stager's.

Used by the drivers of sign-in providers: GitHub and OpenID Connect.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from stager.domain.errors import Retry, StagerError

SECONDS = 8.0
"""Timeout of requests to a provider; a person waits for the answer."""
MOST_BYTES = 1 << 20
"""Of one response. Metadata, keys and user data of providers are a few kilobytes."""
S256 = "S256"

Refusal = Callable[[str], StagerError]


@asynccontextmanager
async def oauth_client(
    client: tuple[str, str], title: str, refusal: Refusal, *, seconds: float = SECONDS, **how: Any
) -> AsyncIterator[Any]:
    """Authlib's `AsyncOAuth2Client` with PKCE.

    Args:
        client: our id and secret with the provider.
        title: the provider's name, for people.
        refusal: the error for an error code of the provider's (RFC 6749, 5.2).
        seconds: for all requests while it is open.
        how: further arguments of Authlib's client.

    Raises:
        StagerError: `refusal` of the provider's error code.
        Retry: no valid response in time.
    """
    import httpx2  # noqa: PLC0415 (as in `_classes`)

    client_class, error_type = _classes()
    how |= {
        "code_challenge_method": S256,
        "timeout": seconds,
        "headers": {"Accept-Encoding": "identity"},
        "event_hooks": {"response": [_bounding(title)]},
        "verify": _certificates(),
    }
    try:
        # Authlib's timeout applies to each chunk of a response, of which there may be any number.
        async with asyncio.timeout(seconds), client_class(*client, **how) as oauth:
            yield oauth
    except error_type as error:
        raise refusal(str(error.error)) from None
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, TimeoutError, RecursionError) as error:
        # The cause is left out: it may contain the request with its secrets.
        raise away(title, type(error).__name__) from None


def away(title: str, why: str) -> Retry:
    """A provider doesn't answer as it should."""
    return Retry(
        f"Signing in with {title} fails at present ({why}).",
        hint="Try again in a minute. If it still fails, check the provider.",
        reason="sign-in-away",
    )


@functools.cache
def _certificates() -> ssl.SSLContext:
    """The trusted certificates. Reading them takes a while, so they are cached."""
    import httpx2  # noqa: PLC0415 (as in `_classes`)

    return httpx2.create_ssl_context()


def _bounding(title: str) -> Callable[[Any], Any]:
    """A hook that rejects a response which is too long or compressed (it could expand to any size)."""
    import httpx2  # noqa: PLC0415 (as in `_classes`)

    class Bounded(httpx2.AsyncByteStream):
        def __init__(self, stream: Any) -> None:
            self._stream = stream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for part in self._stream:
                size += len(part)
                if size > MOST_BYTES:
                    raise away(title, "its response is too long")
                yield part

        async def aclose(self) -> None:
            await self._stream.aclose()

    async def bound(response: httpx2.Response) -> None:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise away(title, "its response is compressed, which wasn't requested")
        response.stream = Bounded(response.stream)

    return bound


def _classes() -> tuple[Any, type[Any]]:
    """Authlib's client and error. Imported at the first sign-in: it takes 20 MB."""
    from authlib.common.errors import AuthlibBaseError  # noqa: PLC0415
    from authlib.integrations.httpx_client import AsyncOAuth2Client  # noqa: PLC0415 (it uses httpx2 if it is there)

    return AsyncOAuth2Client, AuthlibBaseError
