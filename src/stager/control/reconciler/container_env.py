"""The environment variables of an instance: the administrator's, the launch's, and those that we document."""

from __future__ import annotations

import re
from collections.abc import Mapping

from stager.domain.application import Application
from stager.domain.environment import Environment
from stager.domain.errors import Refused
from stager.domain.source import Revision, Trust

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""What POSIX allows (IEEE Std 1003.1, section 8.1), and the lower-case letters of the first Stager."""

OURS = frozenset(
    {
        "image_name",
        "container_name",
        "repo_owner",
        "repo_name",
        "pull_request_number",
        "action",
        "github_token",
        "wait",
    }
)
"""Parameters with a meaning of their own. None of them reaches the instance as given."""

STEERING = re.compile(
    r"STAGER_.*|LD_.*|PATH|ENV|IFS|PS4|BASH_ENV|BASH_FUNC_.*|BASHOPTS|SHELLOPTS|NODE_OPTIONS|PYTHON.*"
    r"|RUBYOPT|RUBYLIB|PERL5.*|PERLLIB|GIT_.*|PROMPT_COMMAND|ZDOTDIR|GCONV_PATH|NODE_PATH|CLASSPATH"
    r"|JAVA_TOOL_OPTIONS|_JAVA_OPTIONS|JDK_JAVA_OPTIONS|MAVEN_OPTS|GRADLE_OPTS|DOTNET_STARTUP_HOOKS"
    r"|BUNDLE_.*|GEM_.*|PHPRC|PHP_INI_SCAN_DIR|(?i:npm_config_.*)"
)
"""Names by which a shell, a loader or an interpreter runs something other than the configured command."""

LONGEST_VALUE = 32_768


def of_launch(parameters: Mapping[str, str]) -> dict[str, str]:
    """The variables that a launch by hand gives.

    Raises:
        Refused: a name can't be a variable's, or would decide what the command runs.
    """
    given = {name: value for name, value in parameters.items() if name not in OURS}
    for name, value in given.items():
        if not NAME.fullmatch(name):
            raise Refused(
                f'The parameter "{name[:80]}" can\'t become an environment variable.',
                hint="Names are letters, digits and underscores, and don't begin with a digit.",
                reason="parameter-invalid",
            )
        if STEERING.fullmatch(name):
            raise Refused(
                f'The parameter "{name[:80]}" would decide what runs, so it can\'t be given with a launch.',
                hint="An administrator may set it under `env:` in the configuration.",
                reason="parameter-refused",
            )
        if "\0" in value or len(value) > LONGEST_VALUE:
            raise Refused(
                f'The value of the parameter "{name[:80]}" is too long, or has a NUL in it.',
                reason="parameter-invalid",
            )
    return given


def of_instance(
    application: Application,
    environment: Environment,
    revision: Revision,
    url: str,
    amended: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """All variables of an environment's next instance; the later ones win, so that nobody can forge ours.

    Args:
        revision: what the instance is made of.
        amended: those that handlers have set.
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
    """Those of the walkthrough, with its lower-case names; `container_name` is the branch, untouched."""
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
