"""Stager: every pull request a running, isolated instance at its own URL.

The plugin API, and nothing else. Names are imported at first use, so that the front and the client commands
don't load them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stager.cli.client.auth.strategy import Account, AuthStrategy
    from stager.domain.commands import Command, Kill, Launch, Reply
    from stager.domain.environment import ChangeLink
    from stager.domain.errors import Fault, Refused, Retry, StagerError
    from stager.domain.identity.actor import Actor
    from stager.domain.identity.roles import Role
    from stager.domain.pull_requests.events import (
        Call,
        ChangeAction,
        ChangeEvent,
        Decision,
        LaunchPreview,
        RemovePreview,
        Skip,
    )
    from stager.domain.service_status import ServiceState
    from stager.domain.source import Change, Repository, Revision, Trust
    from stager.ports.handlers import (
        AuthenticationStrategy,
        ContainerRotationStrategy,
        Credentials,
        EventListener,
        PostLaunchHandler,
        PreKillHandler,
        PreLaunchHandler,
        Preview,
        Previews,
        PreviewService,
    )
    from stager.ports.login import AuthorizationRequest, Identity, Logins, SignIn

_HOMES = {
    "stager.cli.client.auth.strategy": ("Account", "AuthStrategy"),
    "stager.domain.identity.roles": ("Role",),
    "stager.domain.identity.actor": ("Actor",),
    "stager.domain.commands": ("Command", "Kill", "Launch", "Reply"),
    "stager.domain.environment": ("ChangeLink",),
    "stager.domain.errors": ("Fault", "Refused", "Retry", "StagerError"),
    "stager.domain.pull_requests.events": (
        "Call",
        "ChangeAction",
        "ChangeEvent",
        "Decision",
        "LaunchPreview",
        "RemovePreview",
        "Skip",
    ),
    "stager.domain.service_status": ("ServiceState",),
    "stager.domain.source": ("Change", "Repository", "Revision", "Trust"),
    "stager.ports.handlers": (
        "AuthenticationStrategy",
        "ContainerRotationStrategy",
        "Credentials",
        "EventListener",
        "PostLaunchHandler",
        "PreKillHandler",
        "PreLaunchHandler",
        "Preview",
        "PreviewService",
        "Previews",
    ),
    "stager.ports.login": ("AuthorizationRequest", "Identity", "Logins", "SignIn"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Account",
    "Actor",
    "AuthStrategy",
    "AuthenticationStrategy",
    "AuthorizationRequest",
    "Call",
    "Change",
    "ChangeAction",
    "ChangeEvent",
    "ChangeLink",
    "Command",
    "ContainerRotationStrategy",
    "Credentials",
    "Decision",
    "EventListener",
    "Fault",
    "Identity",
    "Kill",
    "Launch",
    "LaunchPreview",
    "Logins",
    "PostLaunchHandler",
    "PreKillHandler",
    "PreLaunchHandler",
    "Preview",
    "PreviewService",
    "Previews",
    "Refused",
    "RemovePreview",
    "Reply",
    "Repository",
    "Retry",
    "Revision",
    "Role",
    "ServiceState",
    "SignIn",
    "Skip",
    "StagerError",
    "Trust",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)
