"""A browser that a command opens: `python -m tests.forge.browser URL`, as $BROWSER. It signs in at
oidc-provider, agrees to everything there, follows every redirect, and says yes to the page that asks whether
the command line may come in. Like a browser it goes on after that, until it is closed.

The variables of its environment say whose it is: STUB_PROVIDER, the address of oidc-provider; STUB_NAME, what
is typed in there; STUB_SEEN, the file to which each page is written that it comes to rest at, as a line of
JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from dataclasses import asdict, dataclass
from html import unescape
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx

from tests.forge.visitor import FORM, HIDDEN, Visitor


@dataclass(frozen=True, slots=True)
class Page:
    """What a user sees.

    Args:
        text: without its markup.
    """

    url: str
    status: int
    text: str


class Loopback(httpx.AsyncHTTPTransport):
    """Knows that names below `localhost` are this machine (RFC 6761, 6.3), as browsers do."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host.endswith("localhost"):
            url = request.url.copy_with(host="127.0.0.1")
            request = httpx.Request(
                request.method,
                url,
                headers=request.headers,
                stream=request.stream,
                extensions=request.extensions,
            )
        return await super().handle_async_request(request)


class Browser:
    """See the module."""

    def __init__(self, client: httpx.AsyncClient, provider: str, name: str) -> None:
        self._client = client
        self._provider = provider
        self._visitor = Visitor(client, provider, name)

    async def visit(self, url: str) -> list[Page]:
        """The pages off the provider's at which it comes to rest."""
        if url.startswith(self._provider):
            url = await self._visitor.go(url)
            assert url, "the provider sends nobody back"
        there = await self._client.get(url, follow_redirects=True)
        pages = [_seen(there)]
        if 'name="answer"' in there.text:
            pages.append(_seen(await self._press(there)))
        return pages

    async def _press(self, page: httpx.Response) -> httpx.Response:
        """Press the button that says yes, as a browser does."""
        form = FORM.search(page.text)
        assert form is not None
        fields = {"answer": "yes"}
        for hidden in HIDDEN.findall(form.group(2)):
            name, value = (re.findall(rf'{key}="([^"]*)"', hidden)[0] for key in ("name", "value"))
            fields[name] = unescape(value)
        here = urlsplit(str(page.url))
        headers = {"Origin": f"{here.scheme}://{here.netloc}", "Referer": str(page.url)}
        target = urljoin(str(page.url), unescape(form.group(1)))
        return await self._client.post(target, data=fields, headers=headers, follow_redirects=True)


def _seen(answer: httpx.Response) -> Page:
    words = re.sub(r"<style>.*?</style>|<[^>]+>", " ", answer.text, flags=re.DOTALL)
    return Page(str(answer.url), answer.status_code, " ".join(unescape(words).split()))


async def _main(url: str) -> None:
    said = os.environ
    async with httpx.AsyncClient(transport=Loopback(), trust_env=False) as client:
        browser = Browser(client, said["STUB_PROVIDER"], said["STUB_NAME"])
        pages = await browser.visit(url)
    with Path(said["STUB_SEEN"]).open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(page)) + "\n" for page in pages)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
    signal.pause()
