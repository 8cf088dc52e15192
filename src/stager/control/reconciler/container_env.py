"""The environment variables of an instance: those of the configuration, of the launch and of Stager."""

from __future__ import annotations

from collections.abc import Mapping

from stager.domain.application import Application
from stager.domain.environment import Environment
from stager.domain.source import Revision, Trust


def of_instance(
    application: Application,
    environment: Environment,
    revision: Revision,
    url: str,
    amended: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """All variables of an environment's next instance. Later ones win, so that Stager's can't be forged.

    Args:
        revision: the revision of the instance.
        amended: the variables that handlers set.
    """
    is_ours = environment.desired.trust is Trust.TRUSTED
    return {
        **application.variables,
        **(application.secrets if is_ours else {}),
        **environment.desired.parameters,
        **(amended or {}),
        **_documented(application, environment),
        **_facts(environment, revision, url),
        **({"STAGER_PORT": str(application.port)} if application.port else {}),
    }


def _documented(application: Application, environment: Environment) -> dict[str, str]:
    """The lower-case variables of the walkthrough. `container_name` is the unchanged branch."""
    variables = {"image_name": application.name, "container_name": environment.name, "action": "launch"}
    change = environment.change
    if change is not None:
        variables["repo_owner"] = change.owner
        variables["pull_request_number"] = str(change.number)
    elif application.owner:
        variables["repo_owner"] = application.owner
    return variables


def _facts(environment: Environment, revision: Revision, url: str) -> dict[str, str]:
    change = environment.change
    facts = {
        "STAGER": "1",
        "STAGER_APP": environment.app,
        "STAGER_ENVIRONMENT": environment.id,
        "STAGER_NAME": environment.name,
        "STAGER_URL": url,
        "STAGER_HOST": environment.host,
        "STAGER_TRUST": environment.desired.trust.value,
        "STAGER_SHA": revision.sha,
        "STAGER_REF": revision.ref or environment.name,
    }
    if change is not None:
        facts |= {
            "STAGER_REPOSITORY": f"{change.owner}/{change.repository}",
            "STAGER_CHANGE": str(change.number),
            "STAGER_BASE_REF": change.base_ref,
            "STAGER_AUTHOR": change.author,
            "STAGER_TITLE": change.title,
        }
    return facts
