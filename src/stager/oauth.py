"""An OAuth 2 client: Authlib's, loaded when somebody signs in, with its endings in our words.

For the drivers that have to do with providers: GitHub, and OpenID Connect.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from stager.domain.errors import Retry, StagerError

SECONDS = 8.0
"""For asking a provider something: whoever signs in waits."""
MOST_BYTES = 1 << 20
"""Of one answer. What providers say of themselves, of their keys and of people is a few kilobytes."""
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
        refusal: the ending for an error code of the provider's (RFC 6749, 5.2).
        seconds: for all that is asked while it is open.
        how: what else Authlib's client takes.

    Raises:
        StagerError: `refusal` of what the provider says.
        Retry: it doesn't answer, not in time, or not what it should.
    """
    import httpx  # noqa: PLC0415 (as in `_class`)

    made, error_type = _class()
    how |= {
        "code_challenge_method": S256,
        "timeout": seconds,
        "headers": {"Accept-Encoding": "identity"},
        "event_hooks": {"response": [_bounding(title)]},
        "verify": _certificates(),
    }
    try:
        # Authlib's limit is for each piece of an answer, of which there may be any number.
        async with asyncio.timeout(seconds), made(*client, **how) as oauth:
            yield oauth
    except error_type as error:
        raise refusal(str(error.error)) from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError, RecursionError) as error:
        # Without its cause, which may show the request with its secrets.
        raise away(title, type(error).__name__) from None


def away(title: str, why: str) -> Retry:
    """A provider that doesn't answer."""
    return Retry(
        f"{title} doesn't let anybody sign in now ({why}).",
        hint="Try again in a minute. If it lasts, somebody has to look at the provider.",
        reason="sign-in-away",
    )


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Whom to believe about names. To read them all takes a while, so that is done once."""
    import httpx  # noqa: PLC0415 (as in `_class`)

    return httpx.create_ssl_context()


def _bounding(title: str) -> Callable[[Any], Any]:
    """A hook that ends an answer which goes on for too long, or unpacks to who knows how much."""
    import httpx  # noqa: PLC0415 (as in `_class`)

    class Bounded(httpx.AsyncByteStream):
        def __init__(self, stream: Any) -> None:
            self._stream = stream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for part in self._stream:
                size += len(part)
                if size > MOST_BYTES:
                    raise away(title, "its answer is too long")
                yield part

        async def aclose(self) -> None:
            await self._stream.aclose()

    async def bound(response: httpx.Response) -> None:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise away(title, "its answer is packed, which nobody asked for")
        response.stream = Bounded(response.stream)

    return bound


def _class() -> tuple[Any, type[Any]]:
    """Imported only by whoever signs in: it takes 20 MB."""
    import authlib.deprecate  # noqa: PLC0415

    with warnings.catch_warnings():
        # It asks for a successor of httpx that hardly anybody has yet.
        warnings.simplefilter("ignore", authlib.deprecate.AuthlibDeprecationWarning)
        from authlib.integrations.httpx_client import AsyncOAuth2Client  # noqa: PLC0415
    from authlib.common.errors import AuthlibBaseError  # noqa: PLC0415

    return AsyncOAuth2Client, AuthlibBaseError
