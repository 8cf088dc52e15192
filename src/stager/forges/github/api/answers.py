"""Reads what GitHub's REST API answers about anything but pull requests, which are `payloads`' own."""

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
    """A GitHub App of ours.

    Args:
        id: its number, or its client id; GitHub takes either.
        pem: its private key.
        url: its page at GitHub; empty where that isn't known.
    """

    id: str
    pem: str = field(repr=False)
    slug: str = ""
    url: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    webhook_secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class AppName:
    """What an App is called, and its page."""

    slug: str
    url: str


@dataclass(frozen=True, slots=True)
class InstallationToken:
    token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Permission:
    """What somebody may do, in GitHub's words; see `people.ACCESS`."""

    permission: str
    role: str


@dataclass(frozen=True, slots=True)
class CheckState:
    """A status or a check of a commit, by its name.

    Args:
        outcome: in GitHub's word; empty until it has `ended`.
    """

    name: str
    ended: bool
    outcome: str


@dataclass(frozen=True, slots=True)
class Deployment:
    id: str
    sha: str
    environment: str


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One attempt to deliver something.

    Args:
        id: of the attempt.
        guid: of the delivery; all attempts have the same one.
    """

    id: str
    guid: str
    event: str
    at: datetime
    arrived: bool


def read_app(app: object) -> AppName:
    """An App, as it is told of itself. Raises `Unreadable`."""
    read = parse(_App, app)
    return AppName(read.slug, read.html_url)


def read_made_app(answer: object) -> AppCredentials:
    """A new App, with its secrets. Raises `Unreadable`."""
    read = parse(_MadeApp, answer)
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
    """The id of whatever has one. Raises `Unreadable`."""
    return str(parse(_Identified, thing).id)


def read_permission(answer: object) -> Permission:
    """What a collaborator may do. Raises `Unreadable`."""
    read = parse(_Permission, answer)
    return Permission(read.permission, read.role_name)


def read_file_paths(file: object) -> list[str]:
    """The paths of a file that a pull request touches: the one that it had, and its own. Raises
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


def read_deployment(deployment: object) -> Deployment:
    """A deployment. Raises `Unreadable`."""
    read = parse(_Deployment, deployment)
    return Deployment(str(read.id), read.sha, read.environment)


def read_attempt(delivery: object) -> DeliveryAttempt:
    """An entry of an App's log of deliveries. Raises `Unreadable`."""
    read = parse(_Attempt, delivery)
    arrived = 200 <= read.status_code < 300
    return DeliveryAttempt(str(read.id), read.guid, read.event, read.delivered_at, arrived)


def read_login(answer: object) -> str:
    """Whose account this is. Raises `Unreadable`."""
    return parse(_Account, answer).login


def read_access(repository: object) -> Access:
    """What whoever asked may do with a repository. Raises `Unreadable`."""
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


class _MadeApp(_App):
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
