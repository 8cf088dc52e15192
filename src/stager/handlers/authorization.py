"""Sign-in of the command line through the browser, with calls to `/event_receiver` as in the first Stager."""

from __future__ import annotations

import json
from typing import ClassVar

from stager.domain.commands import Reply
from stager.domain.errors import Refused
from stager.domain.pull_requests.events import Call, ChangeEvent
from stager.ports.handlers import EventListener
from stager.ports.login import Logins

URL, TOKEN = "get_oauth_url", "get_oauth_token"
JSON = "application/json"


class GithubAuthorization(EventListener):
    """Signs a command line in with GitHub: `action=get_oauth_url` starts a sign-in, `action=get_oauth_token`
    returns its token, once, to the client that started it."""

    actions = (URL, TOKEN)
    requires_authentication = False
    provider: ClassVar[str] = ""
    """The value of the calls' parameter `provider`; empty for GitHub, as in the first Stager."""

    def __init__(self, logins: Logins) -> None:
        self._logins = logins

    async def handle(self, event: ChangeEvent | Call) -> Reply | None:
        if isinstance(event, ChangeEvent) or event.parameters.get("provider", "") != self.provider:
            return None
        return await (self._start(event) if event.name == URL else self._collect(event))

    async def _start(self, call: Call) -> Reply:
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
        if call.method != "POST":  # With GET, the verifier would be in logs of URLs.
            raise Refused(f"The action {TOKEN} requires POST.", reason="post-needed", status=405)
        state, verifier = call.parameters.get("state", ""), call.parameters.get("verifier", "")
        issued = await self._logins.collect(state, verifier)
        if issued is None:
            return Reply(json.dumps({"status": "pending"}), JSON, 202)
        return Reply(json.dumps({"token": issued.token, "login": issued.login}), JSON)


class OpenIDConnectAuthorization(GithubAuthorization):
    """Signs a command line in with OpenID Connect: the same calls with `provider=oidc`."""

    provider = "oidc"
