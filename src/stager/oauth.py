"""An OAuth 2 client: Authlib's, loaded when somebody signs in, with its endings in our words.

For the drivers that have to do with providers: GitHub, and OpenID Connect.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from stager.domain.errors import Retry, StagerError

SECONDS = 8.0
"""For asking a provider something: whoever signs in waits."""
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
        Retry: it doesn't answer, or not what it should.
    """
    import httpx  # noqa: PLC0415 (as in `_class`)

    made, error_type = _class()
    try:
        # Authlib's limit is for each piece of an answer, of which there may be any number.
        async with (
            asyncio.timeout(seconds),
            made(*client, code_challenge_method=S256, timeout=seconds, **how) as oauth,
        ):
            yield oauth
    except error_type as error:
        raise refusal(str(error.error)) from None
    except (httpx.HTTPError, TimeoutError, ValueError) as error:
        # Without its cause, which may show the request with its secrets.
        raise away(title, type(error).__name__) from None


def away(title: str, why: str) -> Retry:
    """A provider that doesn't answer."""
    return Retry(f"{title} doesn't let anybody sign in now ({why}).", reason="sign-in-away")


def _class() -> tuple[Any, type[Any]]:
    """Imported only by whoever signs in: it takes 20 MB."""
    import authlib.deprecate  # noqa: PLC0415

    with warnings.catch_warnings():
        # It asks for a successor of httpx that hardly anybody has yet.
        warnings.simplefilter("ignore", authlib.deprecate.AuthlibDeprecationWarning)
        from authlib.integrations.httpx_client import AsyncOAuth2Client  # noqa: PLC0415
    from authlib.common.errors import AuthlibBaseError  # noqa: PLC0415

    return AsyncOAuth2Client, AuthlibBaseError
