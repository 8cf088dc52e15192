"""Calls GitHub's REST API: gidgethub with Basic credentials, short retries, patience and whole lists.

`client` says what to ask; how a call may fail, and which failure may be tried again at once, is known here.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from gidgethub import HTTPException
from gidgethub.aiohttp import GitHubAPI
from gidgethub.sansio import accept_format
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from stager.domain.errors import Retry
from stager.forges.github import payloads, problems
from stager.version import __version__

API_VERSION = "2022-11-28"
PER_PAGE = 100
MOST_PAGES = 100
ATTEMPTS = 3

Names = Mapping[str, str | Mapping[str, str]]
_CachedPage = tuple[str | None, str | None, Any, str | None]


class PullListCache(OrderedDict[str, _CachedPage]):
    """Pages of lists of pull requests with their ETags, so that asking again costs nothing of the rate limit.

    Only those, and slimmed: a page as GitHub sends it takes megabytes.

    Args:
        limit: how many pages are kept; the oldest go first.
        text: how many characters of descriptions they may have together: a stranger can write long ones.
    """

    def __init__(self, limit: int = 256, text: int = 20_000_000) -> None:
        super().__init__()
        self._limit = limit
        self._text = text

    def __setitem__(self, url: str, page: _CachedPage) -> None:
        etag, last_modified, data, more = page
        if not urlsplit(url).path.endswith("/pulls") or not isinstance(data, list):
            return
        super().__setitem__(url, (etag, last_modified, payloads.slim(data), more))
        self.move_to_end(url)
        while len(self) > self._limit or (len(self) > 1 and self._length() > self._text):
            self.popitem(last=False)

    def _length(self) -> int:
        return sum(len(pull["body"]) for _, _, pulls, _ in self.values() for pull in pulls)


class Rest(GitHubAPI):
    """GitHub's REST API for one account.

    Each call's `path` is a URI template that `names` fill in. Each raises `Retry` when GitHub can't be
    reached, fails, asks to wait or answers what can't be read, and `Refused` with GitHub's status otherwise.

    Args:
        api_url: such as `https://api.github.com`, or `https://HOST/api/v3` for GitHub Enterprise Server.
        user: the account; with `password` empty too, requests go without credentials.
        password: a personal access token.
        web_url: the GitHub that people see.
        timeout: seconds for one request and its answer.
        pause: seconds, about, before the first retry.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        api_url: str,
        user: str,
        password: str,
        web_url: str,
        *,
        timeout: float,
        pause: float,
    ) -> None:
        super().__init__(session, f"stager/{__version__}", base_url=api_url, cache=PullListCache())
        self._web_url = web_url.rstrip("/")
        self._own_headers = {"x-github-api-version": API_VERSION} | _authorization(user, password)
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._pause = pause
        self._quiet_until = 0.0

    async def read(self, path: str, names: Names) -> object:
        """The one thing at `path`."""
        data, _ = await self._repeatedly("GET", path, names)
        return data

    async def read_list(self, path: str, names: Names, **query: str) -> list[object]:
        """Everything in the list at `path`, from all pages, or `Retry`: never a part."""
        items: list[object] = []
        for page in range(1, MOST_PAGES + 1):
            # Counted, not followed by the `Link` header: that would take our credentials where it points.
            asked = {"query": query | {"per_page": str(PER_PAGE), "page": str(page)}}
            data, more = await self._repeatedly("GET", f"{path}{{?query*}}", {**names, **asked})
            if not isinstance(data, list) or (more and not data):
                break
            items += data
            if not more and len(data) < PER_PAGE:
                return items
        message = f"GitHub's answer to GET {_filled(path, names)} is only a part."
        raise Retry(message, reason=problems.UNREADABLE)

    async def edit(self, path: str, names: Names, data: object) -> object:
        """Change what is at `path`."""
        answer, _ = await self._repeatedly("PATCH", path, names, data)
        return answer

    async def remove(self, path: str, names: Names) -> None:
        """Have nothing at `path` any more."""
        await self._repeatedly("DELETE", path, names)

    async def create(self, path: str, names: Names, data: object) -> object:
        """Make something new at `path`. Tried once: after a failure it may exist all the same."""
        answer, _ = await self._once("POST", path, names, data)
        return answer

    async def manage_rate_limit(self, *, method: str, url: str) -> None:  # noqa: ARG002 (gidgethub's hook)
        """Stay silent for as long as GitHub asked to; it bans who doesn't."""
        left = self._quiet_until - time.monotonic()
        if left > 0:
            raise problems.rate_limited(left)

    async def _repeatedly(
        self, method: str, path: str, names: Names, data: object = b""
    ) -> tuple[object, str | None]:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(self._pause, max=10 * self._pause),
            reraise=True,
        ):
            with attempt:
                answer = await self._once(method, path, names, data)
        return answer

    async def _once(self, method: str, path: str, names: Names, data: object) -> tuple[object, str | None]:
        try:
            answer, more, _ = await self._make_request(method, path, names, data, accept_format())
        except (HTTPException, *problems.TRANSPORT, *problems.DECODING) as error:
            self._heed(error)
            # Without its cause: an error of aiohttp shows the request's headers, credentials and all.
            raise problems.ending(error, f"{method} {_filled(path, names)}", self._web_url) from None
        return answer, more

    def _heed(self, error: Exception) -> None:
        wait = problems.seconds_to_wait(error)
        if wait is not None:
            self._quiet_until = time.monotonic() + wait

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, Mapping[str, str], bytes]:
        async with self._session.request(
            method, url, headers={**headers, **self._own_headers}, data=body, timeout=self._timeout
        ) as response:
            return response.status, response.headers, await response.read()


def _authorization(user: str, password: str) -> dict[str, str]:
    if not user and not password:
        return {}
    return {"authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


def _filled(path: str, names: Names) -> str:
    return path.removesuffix("{?query*}").format_map(names)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, Retry) and error.reason in problems.TRANSIENT
