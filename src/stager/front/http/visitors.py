"""Who sends a request: a visitor, or a program that fetches a page before or without a visit.

Pure. Requests of such programs don't wake a sleeping preview and don't count as its use.
"""

from __future__ import annotations

import re

from stager.front.http.head import RequestHead
from stager.front.http.lru_cache import LruCache

LINK_PREVIEWS = (
    "bluesky cardyb",
    "discordbot",
    "embedly",
    "facebookexternalhit",
    "facebot",
    "github-camo",
    "iframely",
    "linkedinbot",
    "mastodon/",
    "mattermost-bot",
    "pinterestbot",
    "redditbot",
    "skypeuripreview",
    "slack-imgproxy",
    "slackbot",
    "synapse (bot",
    "telegrambot",
    "twitterbot",
    "vkshare",
    "whatsapp/",
    "zulipurlpreview",
)
"""Programs that fetch a page because its link was posted, by a part of their `User-Agent`. Sources: the
entries of github.com/monperrus/crawler-user-agents that preview links; api.slack.com/robots;
zulip/zulip: zerver/lib/url_preview/preview.py; matrix-org/synapse: synapse/http/client.py. Apple's Messages
claims to be `facebookexternalhit` and `twitterbot`; Microsoft Teams is `skypeuripreview`."""

CRAWLERS = (
    "ahrefsbot",
    "amazonbot",
    "applebot",
    "baiduspider",
    "bingbot",
    "bytespider",
    "ccbot/",
    "claudebot",
    "dotbot",
    "duckduckbot",
    "googlebot",
    "gptbot",
    "mj12bot",
    "petalbot",
    "semrushbot",
    "yandexbot",
)
"""Programs that follow links by themselves. Those that fetch a page for a person who asks, such as
`ChatGPT-User`, are visitors. Source: github.com/monperrus/crawler-user-agents."""

_MAX_AGENT = 512
"""Bytes of a `User-Agent` that are searched: a longer one would take milliseconds."""
_PROGRAMS = re.compile("|".join(map(re.escape, (*LINK_PREVIEWS, *CRAWLERS))).encode(), re.IGNORECASE)
_IS_PROGRAM: LruCache[bool] = LruCache(
    lambda agent: _PROGRAMS.search(agent) is not None, max_key_bytes=_MAX_AGENT
)
_PURPOSES = (b"sec-purpose", b"purpose", b"x-moz")
"""Headers of a prefetch: MDN, "Sec-Purpose"; `Purpose` of older Chromium and Safari, `X-Moz` of older
Firefox."""
_SAFE = frozenset({b"GET", b"HEAD"})


def is_visit(head: RequestHead) -> bool:
    """Whether a visitor needs the response: the request is neither a prefetch nor from a program that
    previews links or crawls. Those only send GET and HEAD."""
    if head.method not in _SAFE or head.upgrade:
        return True
    if any(head.value(name).lower().startswith(b"prefetch") for name in _PURPOSES):
        return False
    return not _IS_PROGRAM[head.value(b"user-agent")[:_MAX_AGENT]]


def is_navigation(head: RequestHead) -> bool:
    """Whether a browser shows the response as a page, according to `Sec-Fetch-Mode` (W3C Fetch Metadata), or
    else to `Accept`."""
    if head.method not in _SAFE or head.upgrade or b"text/html" not in head.value(b"accept").lower():
        return False
    if head.value(b"x-requested-with"):
        return False
    return head.value(b"sec-fetch-mode").lower() in {b"", b"navigate"}
