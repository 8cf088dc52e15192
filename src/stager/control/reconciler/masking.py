"""Removes secrets from what an application or a hook printed before it is stored, because it is shown: on
pages, in the pull request, and in answers of the API."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import reduce

from stager.control.reconciler.context import WorkerContext
from stager.control.reconciler.preparation import Preparation
from stager.control.reconciler.variables import secret_in
from stager.domain.application import Application
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment
from stager.domain.errors import Outcome, StagerError
from stager.domain.service import generated_names
from stager.domain.source import Trust
from stager.domain.text import masking

Mask = Callable[[str], str]

_SECRET_NAME = re.compile(r"SECRET|TOKEN|PASS|KEY|CREDENTIAL|DSN", re.IGNORECASE)
_WITH_PASSWORD = re.compile(r"\w://[^/\s]*@")


class Masks:
    """Makes the masks of deployments."""

    def __init__(self, context: WorkerContext, preparation: Preparation) -> None:
        self._context, self._preparation = context, preparation

    async def of(self, environment: Environment, deployment: Deployment) -> Mask:
        """A function that masks the secrets that services of this deployment have. If the application isn't
        in the configuration any more, its secrets are unknown, and the function leaves nothing of a text."""
        context = self._context
        try:
            application = context.application(environment, deployment)
        except StagerError:
            return lambda _: ""
        names = {name for spec in deployment.specs for name in generated_names(spec)}
        amended = self._preparation.amended(environment.id)
        return masking(
            [
                *_configured(application, environment),
                *(secret_in(environment, deployment, name, context.key) for name in names),
                *await context.external.secrets_of(environment.id),
                *_probable({**environment.desired.parameters, **amended}),
            ]
        )

    async def of_all(self, environment: Environment) -> Mask:
        """A function that masks the secrets that services of any stored deployment have: for output that may
        come from an instance of an earlier one."""
        deployments = await self._context.records.deployments(environment.id)
        masks = [await self.of(environment, deployment) for deployment in deployments]
        return lambda text: reduce(lambda rest, mask: mask(rest), masks, text)


def masked(deployment: Deployment, mask: Mask) -> Deployment:
    """The deployment without secrets in its log and its failures."""
    attempt = deployment.attempt
    failures = {
        name: replace(failure, outcome=_masked(failure.outcome, mask))
        for name, failure in attempt.failed_services.items()
    }
    without = replace(attempt, outcome=_masked(attempt.outcome, mask), failed_services=failures)
    return replace(deployment, attempt=without, log=mask(deployment.log))


def _masked(outcome: Outcome | None, mask: Mask) -> Outcome | None:
    if outcome is None:
        return None
    message, hint = mask(outcome.message) or outcome.message, mask(outcome.hint) or outcome.hint
    return replace(outcome, message=message, hint=hint, detail=mask(outcome.detail))


def _configured(application: Application, environment: Environment) -> Iterator[str]:
    """The secrets of the configuration. Code from forks has none, and could find out a secret by what is
    masked of its guesses."""
    if environment.desired.trust is not Trust.TRUSTED:
        return
    yield from application.secrets.values()
    yield from application.build.secrets.values() if application.build else ()
    for secrets in application.service_secrets.values():
        yield from secrets.values()


def _probable(variables: Mapping[str, str]) -> Iterable[str]:
    """The values that are secrets by their names, and those with a password in a URL."""
    return [
        value
        for name, value in variables.items()
        if _SECRET_NAME.search(name) or _WITH_PASSWORD.search(value)
    ]
