"""The parameters of a manual launch that become environment variables of the instance."""

from __future__ import annotations

import re
from collections.abc import Mapping

from stager.domain.errors import Refused

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""What POSIX allows (IEEE Std 1003.1, section 8.1), and the lower-case letters of the first Stager."""

RESERVED = frozenset(
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

FORBIDDEN = re.compile(
    r"STAGER_.*|LD_.*|PATH|ENV|IFS|PS4|BASH_ENV|BASH_FUNC_.*|BASHOPTS|SHELLOPTS|NODE_OPTIONS|PYTHON.*"
    r"|RUBYOPT|RUBYLIB|PERL5.*|PERLLIB|GIT_.*|PROMPT_COMMAND|ZDOTDIR|GCONV_PATH|NODE_PATH|CLASSPATH"
    r"|JAVA_TOOL_OPTIONS|_JAVA_OPTIONS|JDK_JAVA_OPTIONS|MAVEN_OPTS|GRADLE_OPTS|DOTNET_STARTUP_HOOKS"
    r"|BUNDLE_.*|GEM_.*|PHPRC|PHP_INI_SCAN_DIR|(?i:npm_config_.*)"
)
"""Names by which a shell, a loader or an interpreter runs something other than the configured command."""

MAX_VALUE_LENGTH = 32_768
"""Characters."""


def launch_variables(parameters: Mapping[str, str]) -> dict[str, str]:
    """The environment variables that a manual launch sets.

    Raises:
        Refused: a name isn't valid for a variable, or would change which command runs.
    """
    given = {name: value for name, value in parameters.items() if name not in RESERVED}
    for name, value in given.items():
        if not NAME.fullmatch(name):
            raise Refused(
                f'The parameter "{name[:80]}" isn\'t a valid name of an environment variable.',
                hint="Use letters, digits and underscores; the first character can't be a digit.",
                reason="parameter-invalid",
            )
        if FORBIDDEN.fullmatch(name):
            raise Refused(
                f'The parameter "{name[:80]}" would change which command runs, so a launch can\'t set it.',
                hint="An administrator can set it under `env:` in the configuration.",
                reason="parameter-refused",
            )
        if "\0" in value or len(value) > MAX_VALUE_LENGTH:
            raise Refused(
                f'The value of the parameter "{name[:80]}" is longer than {MAX_VALUE_LENGTH} characters or '
                "contains a NUL.",
                reason="parameter-invalid",
            )
    return given
