"""A user who signs in at oidc-provider: follows redirects, and fills in forms."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import urljoin

import httpx

FORM = re.compile(r'<form[^>]*action="([^"]*)"[^>]*>(.*?)</form>', re.DOTALL)
HIDDEN = re.compile(r'<input[^>]*type="hidden"[^>]*>')


class Visitor:
    """One browser.

    Args:
        provider: the address of oidc-provider.
        name: what is typed in.
    """

    def __init__(self, client: httpx.AsyncClient, provider: str, name: str) -> None:
        self._client = client
        self._provider = provider
        self._name = name

    async def go(self, url: str, **typed: str) -> str:
        """Sign in and agree to everything. Returns where the browser is sent in the end, off the provider's
        pages; empty when it stays there."""
        answer = await self._client.get(url)
        for _ in range(20):
            if answer.is_redirect:
                url = urljoin(str(answer.url), answer.headers["location"])
                if not url.startswith(self._provider):
                    return url
                answer = await self._client.get(url)
                continue
            form = FORM.search(answer.text)
            if form is None:
                return ""
            answer = await self._send(answer, form, typed)
        raise AssertionError("it never ends")

    async def _send(self, page: httpx.Response, form: re.Match[str], typed: dict[str, str]) -> httpx.Response:
        action, inner = form.groups()
        fields = dict(typed)
        for hidden in HIDDEN.findall(inner):
            name, value = (re.search(rf'{key}="([^"]*)"', hidden) for key in ("name", "value"))
            if name is not None:
                fields[name.group(1)] = unescape(value.group(1)) if value else ""
        if 'name="login"' in inner:
            fields |= {"login": self._name, "password": "any"}
        return await self._client.post(urljoin(str(page.url), unescape(action)), data=fields)
