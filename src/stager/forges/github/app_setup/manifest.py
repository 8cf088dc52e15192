"""The description by which GitHub makes an App of ours with one click. Pure.

https://docs.github.com/en/apps/sharing-github-apps/registering-a-github-app-from-a-manifest
"""

from __future__ import annotations

import json
import re
from ipaddress import ip_address
from urllib.parse import quote, urlsplit

from stager.domain.errors import Refused
from stager.ports.setup import Proposal

WEBHOOK_PATH = "/webhooks/github"
CALLBACK_PATH = "/setup/github/callback"
LOGIN_PATH = "/login/github/callback"
"""Where GitHub sends back who signs in."""

LONGEST_NAME = 34
"""Characters of an App's name. It must be nobody else's either; GitHub's page lets it be changed."""

PERMISSIONS = {
    "metadata": ("read", "what GitHub gives to every App"),
    "contents": ("read", "fetch the code of a pull request"),
    "pull_requests": ("write", "see which are open, and write one comment on each"),
    "issues": ("read", "hear of comments; GitHub counts those on pull requests as comments on issues"),
    "deployments": ("write", "show where the preview is"),
    "statuses": ("write", "show how it stands at the commit"),
    "checks": ("read", "see whether the other checks have passed"),
}
EVENTS = ("check_suite", "issue_comment", "pull_request", "status")
"""GitHub refuses an App whose permissions don't cover its events: `issue_comment` needs `issues`."""

_ORGANIZATION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,37}[A-Za-z0-9])?")
"""GitHub's rule for logins."""


def proposal(web_url: str, home: str, organization: str, state: str) -> Proposal:
    """See `stager.ports.setup.AppSetup.proposal`.

    Args:
        web_url: the GitHub that people see.
    """
    if organization and not _ORGANIZATION.fullmatch(organization):
        raise Refused(
            "There is no organization of this name.",
            hint="Give it as its address has it, such as `acme` of github.com/acme.",
            reason="organization-invalid",
        )
    reachable = can_reach(web_url, home)
    owner = f"organizations/{organization}/" if organization else ""
    return Proposal(
        target=f"{web_url}/{owner}settings/apps/new?state={quote(state, safe='')}",
        manifest=json.dumps(manifest(home, reachable=reachable)),
        reachable=reachable,
        permissions=tuple((f"{name}: {level}", why) for name, (level, why) in PERMISSIONS.items()),
    )


def manifest(home: str, *, reachable: bool) -> dict[str, object]:
    """The App's description.

    Args:
        home: Stager's own address.
        reachable: whether GitHub can bring deliveries there. If it can't, it refuses to try.
    """
    about: dict[str, object] = {
        "name": f"Stager {urlsplit(home).hostname or ''}"[:LONGEST_NAME].strip(" .-"),
        "url": home,
        "redirect_url": home + CALLBACK_PATH,
        "callback_urls": [home + LOGIN_PATH],
        "public": False,
        "default_permissions": {name: level for name, (level, _) in PERMISSIONS.items()},
    }
    if not reachable:
        return about
    return about | {
        "hook_attributes": {"url": home + WEBHOOK_PATH, "active": True},
        "default_events": list(EVENTS),
    }


def can_reach(web_url: str, home: str) -> bool:
    """Whether this GitHub may reach this address, as far as that can be told by looking at the two. One of a
    company's own may reach whatever isn't this very machine."""
    host = urlsplit(home).hostname or ""
    by_github = (urlsplit(web_url).hostname or "").endswith(("github.com", "ghe.com"))
    try:
        address = ip_address(host)
    except ValueError:
        is_local = host == "localhost" or host.endswith(".localhost")
        is_private = "." not in host or host.endswith((".local", ".internal"))
        return not is_local and not (by_github and is_private)
    return address.is_global if by_github else not address.is_loopback
