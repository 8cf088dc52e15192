"""Diagnostics of the installation, for administrators."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, Field

from stager.control.diagnostics import examine
from stager.domain.identity.roles import Action
from stager.ports.diagnostics import Finding, Verdict
from stager.web.api.router import api_router
from stager.web.context import Control, Known, Web

router = api_router("installation")


class FindingView(BaseModel):
    """The result of a check."""

    subject: str
    verdict: Verdict = Field(description="`ok`, `warning` or `error`.")
    message: str
    hint: str = Field(description="What to do about it; may be empty.")

    @classmethod
    def of(cls, finding: Finding) -> Self:
        """Return the view of a finding."""
        return cls(
            subject=finding.subject, verdict=finding.verdict, message=finding.message, hint=finding.hint
        )


@router.get("/doctor")
async def doctor(control: Control, web: Web, actor: Known) -> list[FindingView]:
    """Run the checks of `stager doctor`. Takes up to 15 seconds. For administrators."""
    await control.identity.authorizer.check(actor, Action.SET_UP)
    return [FindingView.of(finding) for finding in await examine(web.checks)]
