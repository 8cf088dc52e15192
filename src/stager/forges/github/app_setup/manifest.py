"""The manifest of Stager's GitHub App. Pure.

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
"""The callback of sign-ins."""

LONGEST_NAME = 34
"""Characters of an App's name. It must be unique; people can change it on GitHub's page."""

PERMISSIONS = {
    "metadata": ("read", "required for every App"),
    "contents": ("read", "fetch the code of a pull request"),
    "pull_requests": ("write", "list open pull requests, and write one comment on each"),
    "issues": ("read", "receive comments; to GitHub, those on pull requests are issue comments"),
    "deployments": ("write", "show the preview's address and state"),
    "statuses": ("write", "show the preview's state at the commit"),
    "checks": ("read", "read the results of other checks"),
}
EVENTS = ("check_suite", "issue_comment", "pull_request", "status")
"""GitHub requires permissions for all events: `issue_comment` needs `issues`."""

_ORGANIZATION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,37}[A-Za-z0-9])?")
"""GitHub's rule for logins."""


def proposal(web_url: str, home: str, organization: str, state: str) -> Proposal:
    """See `stager.ports.setup.AppSetup.proposal`.

    Args:
        web_url: GitHub's web address.
    """
    if organization and not _ORGANIZATION.fullmatch(organization):
        raise Refused(
            "This isn't the name of an organization.",
            hint="Enter it as in its address, such as `acme` for github.com/acme.",
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
    """The manifest.

    Args:
        home: Stager's URL.
        reachable: whether GitHub can deliver webhooks there; otherwise GitHub rejects a webhook URL.
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
    """Whether GitHub can probably reach Stager, judged by the two addresses. A GitHub Enterprise Server may
    reach everything but loopback addresses."""
    host = urlsplit(home).hostname or ""
    by_github = (urlsplit(web_url).hostname or "").endswith(("github.com", "ghe.com"))
    try:
        address = ip_address(host)
    except ValueError:
        is_local = host == "localhost" or host.endswith(".localhost")
        is_private = "." not in host or host.endswith((".local", ".internal"))
        return not is_local and not (by_github and is_private)
    return address.is_global if by_github else not address.is_loopback
