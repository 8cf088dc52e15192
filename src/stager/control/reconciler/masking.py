"""Removes secrets from what an application or a hook printed before it is stored, because it is shown: on
pages, in the pull request, and in answers of the API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from stager.control.reconciler.variables import secret_in
from stager.domain.application import Application
from stager.domain.attempt import Attempt
from stager.domain.deployment import Deployment
from stager.domain.environment import Environment
from stager.domain.errors import Outcome
from stager.domain.service import generated_names
from stager.domain.text import masking

Mask = Callable[[str], str]


def mask_of(application: Application, environment: Environment, deployment: Deployment, key: bytes) -> Mask:
    """A function that masks the secrets that services of this deployment have.

    Args:
        key: of the installation; generated secrets are derived from it.
    """
    build = application.build.secrets if application.build else {}
    of_services = (value for each in application.service_secrets.values() for value in each.values())
    names = {name for spec in deployment.specs for name in generated_names(spec)}
    generated = (secret_in(environment, deployment, name, key) for name in names)
    return masking([*application.secrets.values(), *build.values(), *of_services, *generated])


def masked(deployment: Deployment, mask: Mask) -> Deployment:
    """The deployment without secrets in its log and its failures."""
    attempt = deployment.attempt
    failures = {
        name: replace(failure, outcome=_masked(failure.outcome, mask))
        for name, failure in attempt.failed_services.items()
    }
    without: Attempt = replace(attempt, outcome=_masked(attempt.outcome, mask), failed_services=failures)
    return replace(deployment, attempt=without, log=mask(deployment.log))


def _masked(outcome: Outcome | None, mask: Mask) -> Outcome | None:
    if outcome is None:
        return None
    return replace(
        outcome, message=mask(outcome.message), hint=mask(outcome.hint), detail=mask(outcome.detail)
    )
