"""The pages about people, for administrators: roles, sessions and tokens, and the audit log."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field

from stager.domain.identity.accounts import AuditFilter
from stager.domain.identity.roles import Action
from stager.web.api.identity import audit_filter
from stager.web.context import Control, Known
from stager.web.pages.frame import frame_of
from stager.web.pages.rendering import SECURITY, render
from stager.web.pages.sign_in import check_origin
from stager.web.request_body import form_of

router = APIRouter(include_in_schema=False)

PATH, AUDIT = "/people", "/audit"
PAGE = 100
"""Records of the audit log on a page."""
RESULTS = ("done", "refused", "failed")
OTHER_ACTIONS = ("sign-in", "sign-out", "create-token", "revoke-token")
Id = Annotated[str, Path(max_length=64)]


class PersonForm(BaseModel):
    """A person whose sessions are ended."""

    strategy: str = Field("", max_length=100)
    name: str = Field("", max_length=300)


@router.get(PATH)
async def people(control: Control, actor: Known) -> Response:
    """Show everybody with a session or a token."""
    return render(
        "people.html",
        frame=await frame_of(control, actor, "people"),
        accounts=await control.identity.people.accounts(actor),
        listed=await control.identity.people.listed(actor),
    )


@router.post(PATH + "/sessions/end")
async def end_sessions(request: Request, control: Control, actor: Known) -> Response:
    """End all sessions of a person."""
    check_origin(request)
    form = await form_of(request, PersonForm)
    await control.identity.people.end_sessions(actor, form.strategy, form.name)
    return RedirectResponse(PATH, 303, headers=SECURITY)


@router.post(PATH + "/sessions/{session}/end")
async def end_session(request: Request, control: Control, actor: Known, session: Id) -> Response:
    """End somebody's session."""
    check_origin(request)
    await control.identity.people.end_session(actor, session)
    return RedirectResponse(PATH, 303, headers=SECURITY)


@router.post(PATH + "/tokens/{token}/revoke")
async def revoke_token(request: Request, control: Control, actor: Known, token: Id) -> Response:
    """Revoke somebody's token."""
    check_origin(request)
    await control.identity.people.revoke_token(actor, token)
    return RedirectResponse(PATH, 303, headers=SECURITY)


@router.get(AUDIT)
async def audit(
    control: Control,
    actor: Known,
    only: Annotated[AuditFilter, Depends(audit_filter)],
    before: Annotated[int | None, Query(ge=1, le=1 << 62)] = None,
) -> Response:
    """Show the audit log, newest first."""
    await control.identity.authorizer.check(actor, Action.READ_AUDIT)
    found = await control.identity.audit.entries(limit=PAGE + 1, before=before, only=only)
    values = {"q": only.text, "action": only.action, "app": only.app, "result": only.result}
    chosen = {name: value for name, value in values.items() if value}
    older = _path(chosen | {"before": str(found[PAGE - 1].seq)}) if len(found) > PAGE else ""
    return render(
        "audit.html",
        frame=await frame_of(control, actor, "people"),
        records=found[:PAGE],
        only=only,
        is_filtered=bool(chosen),
        actions=sorted({*map(str, Action), *OTHER_ACTIONS}),
        apps=sorted(application.name for application in control.applications),
        results=RESULTS,
        newest=_path(chosen) if before else "",
        older=older,
    )


def _path(query: dict[str, str]) -> str:
    return f"{AUDIT}?{urlencode(query)}" if query else AUDIT
