"""Signs a command line in, in somebody's browser: calls of `/event_receiver`, as in the first Stager."""

from __future__ import annotations

import json
from typing import ClassVar

from stager.domain.commands import Command, Reply
from stager.domain.errors import Refused
from stager.domain.pull_requests.events import Call, ChangeSeen
from stager.ports.handlers import EventListener
from stager.ports.login import Logins

URL, TOKEN = "get_oauth_url", "get_oauth_token"
JSON = "application/json"


class GithubAuthorization(EventListener):
    """Signs a command line in with GitHub: `action=get_oauth_url` begins, `action=get_oauth_token` has the
    token, once, for whoever began."""

    actions = (URL, TOKEN)
    requires_authentication = False
    provider: ClassVar[str] = ""
    """The parameter `provider` of the calls that are meant; none for GitHub, as in the first Stager."""

    def __init__(self, logins: Logins) -> None:
        self._logins = logins

    async def handle(self, event: ChangeSeen | Call) -> Command | None:
        if isinstance(event, ChangeSeen) or event.parameters.get("provider", "") != self.provider:
            return None
        return await (self._begin(event) if event.name == URL else self._collect(event))

    async def _begin(self, call: Call) -> Reply:
        challenge = call.parameters.get("challenge", "")
        started = await self._logins.start(challenge, call.address, self.provider)
        answer = {
            "url": started.url,
            "state": started.state,
            "code": started.code,
            "expires_in": int(started.expires_in),
        }
        return Reply(json.dumps(answer), JSON)

    async def _collect(self, call: Call) -> Reply:
        if call.method != "POST":  # a verifier in an address would be in logs
            raise Refused(f"The action {TOKEN} needs a POST.", reason="post-needed", status=405)
        asked = call.parameters.get("state", ""), call.parameters.get("verifier", "")
        collected = await self._logins.collect(*asked)
        if collected is None:
            return Reply(json.dumps({"status": "pending"}), JSON, 202)
        return Reply(json.dumps({"token": collected.token, "login": collected.login}), JSON)


class OpenIDConnectAuthorization(GithubAuthorization):
    """Signs a command line in with OpenID Connect: the same calls with `provider=oidc`."""

    provider = "oidc"
