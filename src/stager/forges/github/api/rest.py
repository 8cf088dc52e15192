"""HTTP client of GitHub's REST API: gidgethub with credentials, retries, rate limits and pagination."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import aiohttp
from gidgethub import HTTPException
from gidgethub.aiohttp import GitHubAPI
from gidgethub.sansio import accept_format
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from stager.domain.errors import Refused, Retry
from stager.forges.github.api import problems
from stager.forges.github.webhooks import payloads
from stager.ports.forge import RateLimit
from stager.version import __version__

API_VERSION = "2022-11-28"
PER_PAGE = 100
MOST_PAGES = 100
ATTEMPTS = 3
LIMITS = ("limit", "remaining", "reset")
"""Suffixes of GitHub's headers `x-ratelimit-...`."""
LATEST_RESET = 2.0**33
"""Seconds since 1970. Later values are invalid."""

Names = Mapping[str, str | Mapping[str, str]]
_CachedPage = tuple[str | None, str | None, Any, str | None]


class PullListCache(OrderedDict[str, _CachedPage]):
    """Cached pages of pull-request lists with their ETags, so that repeated requests don't count towards the
    rate limit.

    Pages are reduced to the fields that are read: a page as GitHub sends it takes megabytes.

    Args:
        limit: maximum number of pages; the oldest are evicted.
        text: maximum characters of all descriptions: authors can write long ones.
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


class RequestCredentials(Protocol):
    """Credentials of requests."""

    async def authorization(self, owner: str, repository: str) -> str:
        """The value of the `Authorization` header; empty for none.

        Args:
            owner, repository: the repository that the request is about; empty for other requests.

        Raises:
            Refused, Retry: GitHub doesn't issue a token, or not now.
        """

    def renew(self, authorization: str) -> bool:
        """Discard a value that GitHub rejected with 401. Returns whether the next one will differ."""

    def hint(self, status: int, permission: str) -> str:
        """The hint for a status of 401, 403 or 404; may be empty.

        Args:
            permission: the missing permission; empty where GitHub doesn't report one.
        """


class Rest(GitHubAPI):
    """GitHub's REST API with these credentials.

    `path` is a URI template that `names` fill in. Each call raises `Retry` when GitHub can't be reached,
    fails, limits the rate or sends a response that can't be parsed, and `Refused` with GitHub's status
    otherwise.

    Args:
        api_url: such as `https://api.github.com`, or `https://HOST/api/v3` for GitHub Enterprise Server.
        timeout: seconds for a request with its response.
        pause: approximate seconds before the first retry.

    Attributes:
        limits: the last reported rate limit; None before the first response.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        api_url: str,
        credentials: RequestCredentials,
        *,
        timeout: float = 20.0,
        pause: float = 0.5,
    ) -> None:
        super().__init__(session, f"stager/{__version__}", base_url=api_url, cache=PullListCache())
        self.limits: RateLimit | None = None
        self._credentials = credentials
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._pause = pause
        self._limited_until = 0.0

    async def read(self, path: str, names: Names) -> object:
        """The object at `path`."""
        data, _ = await self._repeatedly("GET", path, names)
        return data

    async def read_list(self, path: str, names: Names, *, within: str = "", **query: str) -> list[object]:
        """All items of the list at `path`, from all pages; `Retry` instead of an incomplete list.

        Args:
            within: the key of the list in the response, where the response isn't the list itself.
        """
        items: list[object] = []
        for page in range(1, MOST_PAGES + 1):
            # Pages are counted: following the `Link` header would send the credentials where it points.
            data, more = await self._page(path, names, within, query | {"page": str(page)})
            if data is None or (more and not data):
                break
            items += data
            if not more and len(data) < PER_PAGE:
                return items
        message = f"GitHub's response to GET {_filled(path, names)} is incomplete."
        raise Retry(message, reason=problems.UNREADABLE)

    async def read_first(self, path: str, names: Names, **query: str) -> list[object]:
        """The first page of the list at `path`."""
        data, _ = await self._page(path, names, "", query)
        return self._require_list(data, path, names)

    async def read_after(self, path: str, names: Names, cursor: str) -> tuple[list[object], str]:
        """The page of the list at `path` for this cursor, and the next cursor. An empty cursor stands for the
        first page, and follows the last."""
        data, more = await self._page(path, names, "", {"cursor": cursor} if cursor else {})
        # Only the cursor is used: following the link could send the credentials elsewhere.
        [following, *_] = parse_qs(urlsplit(more or "").query).get("cursor", [""])
        return self._require_list(data, path, names), following

    async def _page(
        self, path: str, names: Names, within: str, query: dict[str, str]
    ) -> tuple[list[object] | None, str | None]:
        """A page, None if it isn't a list; and the link to the next page."""
        parameters = {**names, "query": {**query, "per_page": str(PER_PAGE)}}
        data, more = await self._repeatedly("GET", f"{path}{{?query*}}", parameters)
        if within:
            data = data.get(within) if isinstance(data, dict) else None
        return (data if isinstance(data, list) else None), more

    def _require_list(self, data: list[object] | None, path: str, names: Names) -> list[object]:
        if data is None:
            message = f"GitHub's response to GET {_filled(path, names)} isn't a list."
            raise Retry(message, reason=problems.UNREADABLE)
        return data

    async def edit(self, path: str, names: Names, data: object) -> object:
        """PATCH the object at `path`."""
        answer, _ = await self._repeatedly("PATCH", path, names, data)
        return answer

    async def remove(self, path: str, names: Names) -> None:
        """DELETE the object at `path`."""
        await self._repeatedly("DELETE", path, names)

    async def create(self, path: str, names: Names, data: object = b"") -> object:
        """POST to `path`. Not retried: after a failure the object may exist."""
        answer, _ = await self._once("POST", path, names, data)
        return answer

    async def manage_rate_limit(self, *, method: str, url: str) -> None:  # noqa: ARG002 (gidgethub's hook)
        """Raise while a rate limit applies; GitHub bans clients that ignore it."""
        left = self._limited_until - time.monotonic()
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
        authorization = await self._authorization(names)
        try:
            return await self._with(authorization, method, path, names, data)
        except Refused as error:
            if error.status != 401 or not self._credentials.renew(authorization):
                raise
        # The rejected request had no effect, so it may be repeated.
        return await self._with(await self._authorization(names), method, path, names, data)

    async def _authorization(self, names: Names) -> str:
        return await self._credentials.authorization(str(names.get("owner", "")), str(names.get("repo", "")))

    async def _with(
        self, authorization: str, method: str, path: str, names: Names, data: object
    ) -> tuple[object, str | None]:
        headers = {"x-github-api-version": API_VERSION}
        if authorization:
            headers["authorization"] = authorization
        try:
            answer, more, _ = await self._make_request(
                method, path, names, data, accept_format(), extra_headers=headers
            )
        except (HTTPException, *problems.TRANSPORT, *problems.DECODING) as error:
            self._heed(error)
            # Without the cause: aiohttp's errors contain the request's headers, including credentials.
            raise problems.error_of(
                error, f"{method} {_filled(path, names)}", self._credentials.hint
            ) from None
        return answer, more

    def _heed(self, error: Exception) -> None:
        wait = problems.seconds_to_wait(error)
        if wait is not None:
            self._limited_until = time.monotonic() + wait

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, Mapping[str, str], bytes]:
        async with self._session.request(
            method, url, headers=headers, data=body, timeout=self._timeout
        ) as response:
            self._count(response.headers)
            return response.status, response.headers, await response.read()

    def _count(self, headers: Mapping[str, str]) -> None:
        """Record the rate limit, and stop requests once nothing remains."""
        limit, remaining, reset = (problems.number(headers.get(f"x-ratelimit-{n}")) for n in LIMITS)
        if limit is None or remaining is None or reset is None or reset > LATEST_RESET:
            return
        self.limits = RateLimit(int(limit), int(remaining), datetime.fromtimestamp(reset, UTC))
        if not remaining:
            wait = problems.seconds_until(reset, headers)
            self._limited_until = max(self._limited_until, time.monotonic() + wait)


def _filled(path: str, names: Names) -> str:
    return path.removesuffix("{?query*}").format_map(names)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, Retry) and error.reason in problems.TRANSIENT
