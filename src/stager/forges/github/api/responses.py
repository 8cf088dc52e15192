"""Parsers for responses of GitHub's REST API. Pull requests are parsed in `payloads`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from pydantic import Field

from stager.domain.source import Access
from stager.forges.github.webhooks.wire import Link, Stamp, Text, Wire, parse
from stager.ports.login import DeviceCode


@dataclass(frozen=True, slots=True)
class AppCredentials:
    """The credentials of Stager's GitHub App.

    Args:
        id: its number, or its client id; GitHub accepts either.
        pem: its private key.
        url: its page at GitHub; empty if unknown.
    """

    id: str
    pem: str = field(repr=False)
    slug: str = ""
    url: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    webhook_secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class AppInfo:
    """An App's slug and page."""

    slug: str
    url: str


@dataclass(frozen=True, slots=True)
class InstallationToken:
    token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class CollaboratorPermission:
    """A collaborator's permission and role, in GitHub's terms; see `people.ACCESS`."""

    permission: str
    role: str


@dataclass(frozen=True, slots=True)
class CheckState:
    """A status or check of a commit.

    Args:
        outcome: GitHub's conclusion; empty until it has `ended`.
    """

    name: str
    ended: bool
    outcome: str


@dataclass(frozen=True, slots=True)
class GithubDeployment:
    id: str
    sha: str
    environment: str


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """An attempt to deliver an event.

    Args:
        id: of the attempt.
        guid: of the delivery, the same for all attempts.
    """

    id: str
    guid: str
    event: str
    at: datetime
    arrived: bool


def read_app(app: object) -> AppInfo:
    """The response of `GET /app`. Raises `Unreadable`."""
    read = parse(_App, app)
    return AppInfo(read.slug, read.html_url)


def read_created_app(answer: object) -> AppCredentials:
    """A new App, with its secrets. Raises `Unreadable`."""
    read = parse(_CreatedApp, answer)
    return AppCredentials(
        id=str(read.id),
        pem=read.pem,
        slug=read.slug,
        url=read.html_url,
        client_id=read.client_id,
        client_secret=read.client_secret,
        webhook_secret=read.webhook_secret or "",
    )


def read_token(answer: object) -> InstallationToken:
    """A new token of an installation. Raises `Unreadable`."""
    read = parse(_Token, answer)
    return InstallationToken(read.token, read.expires_at)


def read_id(thing: object) -> str:
    """The id of an object. Raises `Unreadable`."""
    return str(parse(_Identified, thing).id)


def read_permission(answer: object) -> CollaboratorPermission:
    """A collaborator's permission. Raises `Unreadable`."""
    read = parse(_Permission, answer)
    return CollaboratorPermission(read.permission, read.role_name)


def read_file_paths(file: object) -> list[str]:
    """The paths of a changed file: the previous one, if it was renamed, and the current one. Raises
    `Unreadable`."""
    read = parse(_File, file)
    return [path for path in (read.previous_filename, read.filename) if path]


def read_status(status: object) -> CheckState:
    """A commit's status. Raises `Unreadable`."""
    read = parse(_Status, status)
    ended = read.state != "pending"
    return CheckState(read.context, ended, read.state if ended else "")


def read_check_run(run: object) -> CheckState:
    """A commit's check. Raises `Unreadable`."""
    read = parse(_CheckRun, run)
    return CheckState(read.name, read.status == "completed", read.conclusion or "")


def read_deployment(deployment: object) -> GithubDeployment:
    """A deployment. Raises `Unreadable`."""
    read = parse(_Deployment, deployment)
    return GithubDeployment(str(read.id), read.sha, read.environment)


def read_attempt(delivery: object) -> DeliveryAttempt:
    """An entry of an App's delivery log. Raises `Unreadable`."""
    read = parse(_Attempt, delivery)
    arrived = 200 <= read.status_code < 300
    return DeliveryAttempt(str(read.id), read.guid, read.event, read.delivered_at, arrived)


def read_login(answer: object) -> str:
    """Whose account this is. Raises `Unreadable`."""
    return parse(_Account, answer).login


def read_access(repository: object) -> Access:
    """The token owner's access to a repository. Raises `Unreadable`."""
    may = parse(_Permitted, repository).permissions
    if may.admin:
        return Access.ADMIN
    if may.push or may.maintain:
        return Access.WRITE
    return Access.READ if may.pull or may.triage else Access.NONE


def read_access_token(answer: object) -> str:
    """Somebody's token. Raises `Unreadable`."""
    return parse(_AccessToken, answer).access_token


def read_device_code(answer: object) -> DeviceCode:
    """A sign-in that was begun without a browser. Raises `Unreadable`."""
    read = parse(_DeviceCode, answer)
    return DeviceCode(read.device_code, read.user_code, read.verification_uri, read.interval, read.expires_in)


class _Account(Wire):
    login: Annotated[str, Field(pattern=r"^[A-Za-z0-9._\[\]-]{1,100}$")]


class _Permissions(Wire):
    admin: bool = False
    maintain: bool = False
    push: bool = False
    triage: bool = False
    pull: bool = False


class _Permitted(Wire):
    permissions: _Permissions


class _AccessToken(Wire):
    access_token: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,4000}$")]


class _DeviceCode(Wire):
    device_code: str
    user_code: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,40}$")]
    verification_uri: Link
    interval: Annotated[float, Field(ge=0, le=300)] = 5.0
    expires_in: Annotated[float, Field(ge=1, le=86_400)] = 900.0


class _Identified(Wire):
    id: int


class _App(Wire):
    slug: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    html_url: Link


class _CreatedApp(_App):
    id: int
    client_id: str
    client_secret: str
    webhook_secret: str | None = None
    pem: str


class _Token(Wire):
    token: Annotated[str, Field(pattern=r"^[\x21-\x7e]+$")]
    expires_at: Stamp


class _Permission(Wire):
    permission: str
    role_name: Text = ""


class _File(Wire):
    filename: Text
    previous_filename: Text = ""


class _Status(Wire):
    context: str
    state: str


class _CheckRun(Wire):
    name: str
    status: str
    conclusion: str | None = None


class _Deployment(Wire):
    id: int
    sha: Text = ""
    environment: Text = ""


class _Attempt(Wire):
    id: int
    guid: str
    event: str
    delivered_at: Stamp
    status_code: int
