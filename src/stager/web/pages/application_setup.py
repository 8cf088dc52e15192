"""The pages of the first run: connect GitHub or use a repository on this machine, add an application, see its
first preview. For administrators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field

from stager.control.control_plane import ControlPlane
from stager.domain.application import Application
from stager.domain.commands import Launch
from stager.domain.errors import Refused, StagerError
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Action
from stager.domain.status import State, status_of
from stager.ports.setup import ApplicationSetup, NewApplication
from stager.project.variables import parse_env
from stager.web.context import Control, Known, Web, WebContext
from stager.web.pages.frame import Frame, frame_of
from stager.web.pages.rendering import SECURITY, render
from stager.web.pages.sign_in import check_origin
from stager.web.problems import status_of as http_status_of
from stager.web.request_body import form_of

router = APIRouter(include_in_schema=False)

PATH = "/setup"
ADD = "/setup/application"
HERE = "applications"
"""The entry of the navigation."""
MAX_VARIABLES = 16_384
"""Characters of the variables, and of the secrets."""
Name = Annotated[str, Path(max_length=64)]


class ApplicationForm(BaseModel):
    """The form for a new application."""

    name: str = Field(default="", max_length=64)
    source: str = Field(default="local", max_length=10)
    repository: str = Field(default="", max_length=200)
    build: str = Field(default="auto", max_length=20)
    image: str = Field(default="", max_length=300)
    port: str = Field(default="", max_length=5)
    command: str = Field(default="", max_length=1000)
    env: str = Field(default="", max_length=MAX_VARIABLES)
    secrets: str = Field(default="", max_length=MAX_VARIABLES)


class LaunchForm(BaseModel):
    """The form for the first preview."""

    branch: str = Field(default="main", max_length=200)


@router.get(PATH)
async def begin(control: Control, web: Web, actor: Known) -> Response:
    """Show the choice of a source, and the applications that there are."""
    await control.identity.authorizer.check(actor, Action.SET_UP)
    app = web.setup.made() if web.setup else None
    return render(
        "first-run.html",
        frame=await frame_of(control, actor, HERE),
        tone="good",
        app=app,
        applications=[application.name for application in control.applications],
        may_add=web.applications is not None,
        home=control.routing.urls.home,
    )


@router.get(ADD)
async def form(control: Control, web: Web, actor: Known, source: str = "local") -> Response:
    """Show the form for an application."""
    await control.identity.authorizer.check(actor, Action.SET_UP)
    given = ApplicationForm(source="github" if source == "github" else "local")
    return _form(await frame_of(control, actor, HERE), _setup(web), given)


@router.post(ADD)
async def add(request: Request, control: Control, web: Web, actor: Known) -> Response:
    """Add an application; the control plane restarts with it once no build runs."""
    check_origin(request)
    await control.identity.authorizer.check(actor, Action.SET_UP)
    setup, given = _setup(web), await form_of(request, ApplicationForm)
    try:
        async with control.identity.audit.recorded(actor, Action.SET_UP, subject="application"):
            name = setup.add(_application(given))
    except StagerError as error:
        return _form(await frame_of(control, actor, HERE), setup, given, error)
    return _added(await frame_of(control, actor, HERE), setup, name)


@router.get(ADD + "/{name}")
async def first_preview(control: Control, web: Web, actor: Known, name: Name) -> Response:
    """Show how to get the first preview of an application, and that preview once there is one."""
    await control.identity.authorizer.check(actor, Action.SET_UP)
    application = control.applications.find(name)
    if application is None:
        if web.applications is not None and web.applications.is_waiting(name):
            return _added(await frame_of(control, actor, HERE), web.applications, name)
        return RedirectResponse(PATH, 303, headers=SECURITY)
    return await _first_preview(control, web, actor, application)


@router.post(ADD + "/{name}/launch")
async def launch(request: Request, control: Control, web: Web, actor: Known, name: Name) -> Response:
    """Launch the first preview, from a branch or the image."""
    check_origin(request)
    await control.identity.authorizer.check(actor, Action.SET_UP)
    given = await form_of(request, LaunchForm)
    application = control.applications.get(name)
    try:
        command = Launch(name, given.branch.strip() or "main", {})
        environment = await control.environments.commands.launch(command, actor)
    except StagerError as error:
        return await _first_preview(control, web, actor, application, error)
    return RedirectResponse(f"/previews/{environment.id}", 303, headers=SECURITY)


def _setup(web: WebContext) -> ApplicationSetup:
    if web.applications is None:
        raise Refused(
            "Applications can't be added in the browser in this installation.",
            hint="Add them to `images:` in config.yml.",
            reason="application-setup-unavailable",
            status=404,
        )
    return web.applications


def _application(given: ApplicationForm) -> NewApplication:
    is_github = given.source == "github"
    if is_github and not given.repository.strip():
        raise Refused("Enter the repository, such as `acme/shop`.", reason="setup-invalid")
    if not is_github and not given.name.strip():
        raise Refused("Enter a name, such as `shop`.", reason="setup-invalid")
    return NewApplication(
        given.name.strip(),
        given.repository.strip() if is_github else "",
        given.build,
        given.image.strip(),
        given.port.strip(),
        given.command.strip(),
        _variables(given.env, "Environment variables"),
        _variables(given.secrets, "Secrets"),
    )


def _variables(text: str, field: str) -> dict[str, str]:
    """The variables of a field with a `NAME=value` on each line. An error doesn't quote it."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.strip().startswith("#") and not parse_env(line):
            raise Refused(f"{field}: line {number} isn't of the form `NAME=value`.", reason="setup-invalid")
    return parse_env(text)


def _added(frame: Frame, setup: ApplicationSetup, name: str) -> Response:
    return render("application-added.html", frame=frame, name=name, file=setup.file, next=f"{ADD}/{name}")


def _form(
    frame: Frame, setup: ApplicationSetup, given: ApplicationForm, error: StagerError | None = None
) -> Response:
    return render(
        "application-form.html",
        frame=frame,
        status=http_status_of(error) if error else 200,
        given=given,
        file=setup.file,
        error=error,
    )


async def _first_preview(
    control: ControlPlane,
    web: WebContext,
    actor: Actor,
    application: Application,
    error: StagerError | None = None,
) -> Response:
    rows = await control.environments.queries.listing(actor, app=application.name)
    previews = [
        (
            row.environment,
            status_of(row.environment, row.deployment),
            control.routing.urls.url(row.environment.host),
        )
        for row in rows
    ]
    path = web.options.repositories.get(application.name)
    return render(
        "first-preview.html",
        frame=await frame_of(control, actor, HERE),
        status=http_status_of(error) if error else 200,
        application=application,
        previews=previews,
        live=State.LIVE,
        repository=path,
        needs_commit=application.needs_commit,
        is_connected=bool(control.ports.forges),
        home=control.routing.urls.home,
        error=error,
    )
