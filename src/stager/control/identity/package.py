"""The parts that identify people and decide what they may do, composed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from stager.control.identity.api_tokens import Tokens
from stager.control.identity.audit import Audit
from stager.control.identity.authenticator import Authenticator
from stager.control.identity.authorizer import Authorizer, Roles
from stager.control.identity.login_flows import LoginFlows
from stager.control.identity.login_links import LoginLinks
from stager.control.identity.people import People
from stager.control.identity.sessions import Lifetimes, Sessions
from stager.control.identity.sign_in import SigningIn
from stager.control.identity.throttle import Throttle
from stager.control.plugins.invoker import Invoker
from stager.control.ports import Ports
from stager.domain.application import Applications
from stager.ports.handlers import AuthenticationStrategy


@dataclass(frozen=True, slots=True)
class IdentityOptions:
    """What the configuration says about people.

    Args:
        roles: roles by name, which take precedence over those that a strategy gives.
        lifetimes: how long sessions last.
    """

    roles: Roles = field(default_factory=Roles)
    lifetimes: Lifetimes = field(default_factory=Lifetimes)


class Identity:
    """Authentication, authorization, sessions, API tokens, sign-in and the audit log.

    Args:
        logins: sign-ins in progress; None if no provider is configured.
    """

    def __init__(
        self,
        ports: Ports,
        applications: Applications,
        strategies: Sequence[AuthenticationStrategy],
        invoker: Invoker,
        logins: LoginFlows | None,
        options: IdentityOptions,
    ) -> None:
        clock, store, box = ports.clock, ports.store, ports.secret_box
        self.audit = Audit(store, clock)
        self.tokens = Tokens(store, clock, ports.ids, box, self.audit)
        self.sessions = Sessions(
            store,
            clock,
            ids=ports.ids,
            seal=box,
            audit=self.audit,
            lifetimes=_limited(options.lifetimes, strategies),
        )
        self.authenticator = Authenticator(
            strategies,
            invoker,
            sessions=self.sessions,
            tokens=self.tokens,
            throttle=Throttle(clock.now),
            audit=self.audit,
        )
        self.authorizer = Authorizer(
            strategies, invoker, applications=applications, roles=options.roles, audit=self.audit
        )
        self.people = People(self.sessions, self.tokens, self.authorizer, applications)
        self.login_links = LoginLinks(
            store, clock, sessions=self.sessions, audit=self.audit, throttle=Throttle(clock.now)
        )
        self.sign_in = SigningIn(
            strategies,
            logins or LoginFlows(None, lambda: "", clock.now),
            sessions=self.sessions,
            authenticator=self.authenticator,
            audit=self.audit,
            clock=clock,
        )


def _limited(lifetimes: Lifetimes, strategies: Sequence[AuthenticationStrategy]) -> Lifetimes:
    """The configured lifetimes, limited to how long each strategy's result of a sign-in is valid."""
    by_strategy = {
        type(strategy).__name__: timedelta(seconds=most)
        for strategy in strategies
        if (most := strategy.signed_in_for()) is not None
    }
    return replace(lifetimes, by_strategy=by_strategy)
