"""Likely causes of failed builds, matched against the error and the last lines of the log. The first match
in the table counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from stager.engines.docker.build.progress import Step, shortened

_WITHOUT_HUB = "docs/how-to/build-from-source.md has ways to run without Docker Hub."

_NOT_IN_CONTEXT = (
    "The file isn't in the build context, or `.dockerignore` excludes it. Paths are relative to the folder "
    "`build.context` and case-sensitive."
)
_CAUSES: tuple[tuple[str, str], ...] = (
    (
        r"no space left on device|ENOSPC|Disk quota exceeded",
        "The disk is full. `docker system df` on Stager's machine shows what uses it.",
    ),
    (
        r"exit code: 137\b|out of memory|JavaScript heap|Cannot allocate memory|MemoryError",
        "The step was killed, most likely because memory ran out. Reduce its memory use, such as "
        "parallel jobs.",
    ),
    (
        r"(?:sh|bash)(?:: line \d+)?: (?:\d+: )?(?:\S*/\S+): (?:cannot execute: required file )?not found"
        r"|exit code: 127\b(?s:.*)bash: (?:line \d+: )?\S*/\S+: No such file|sh\^M: |bad interpreter",
        "The script, or the interpreter that its first line names, isn't in the image at this step. The line "
        "may end with a carriage return (Windows line ends; `*.sh text eol=lf` in .gitattributes), or name "
        "`/bin/bash` where the image has only `/bin/sh`.",
    ),
    (
        r"(?:sh|bash)(?:: line \d+)?: (?:\d+: )?([\w.+-]+): (?:command )?not found"
        r"|exec: \"([^\"]+)\": executable",
        "`{0}` isn't in the image at this step. Install it first, or use a base image that has it.",
    ),
    (
        r"exec format error",
        "A program in the image is built for another processor architecture.",
    ),
    (
        r"npm ci.{0,20}can only install|EUSAGE|lockfile needs to be updated|ERR_PNPM_OUTDATED_LOCKFILE"
        r"|poetry\.lock|lock ?file.{0,40}(?:out of date|needs to be updated|not up to date)",
        "The lock file doesn't match the list of dependencies. Install once on your own machine, and "
        "commit both.",
    ),
    (
        r"DO NOT MATCH THE HASHES|EINTEGRITY|checksum mismatch",
        "The downloaded package differs from the locked one. Update the lock file, or check the "
        "package index.",
    ),
    (
        r"No matching distribution found for|404 Not Found.{0,80}?registry|E404|ResolutionImpossible",
        "A dependency doesn't exist in this version, or not for this version of the language.",
    ),
    (
        r"SELF_SIGNED_CERT|certificate verify failed|x509: certificate|unable to get local issuer",
        "A certificate isn't trusted inside the build. Add your certificate authority to the base image; npm "
        "uses NODE_EXTRA_CA_CERTS, pip uses PIP_CERT.",
    ),
    (
        r"Could not resolve host|Temporary failure (?:in name resolution|resolving)|EAI_AGAIN|ENOTFOUND"
        r"|Network is unreachable|ETIMEDOUT|ECONNREFUSED|Connection timed out|no such host|dial tcp"
        r"|Failed to establish a new connection|bad address",
        "A host isn't reachable from inside the build. Check the machine's network, and Docker's name server "
        "and proxy.",
    ),
    (
        r"\"/\.git(?:/[^\"]*)?\" not found|buildkit-mount\d+/\.git\b|not a git repository",
        "The build context has only the commit's files, without `.git` and the history. A line "
        "`ARG STAGER_SHA` in the Dockerfile receives the commit's id; `build.args` passes other values.",
    ),
    (
        r"failed to compute cache key: .*not found|\"/([^\"]+)\" not found",
        _NOT_IN_CONTEXT,
    ),
    (
        r"buildkit-mount\d+/\S*: no such file or directory",
        _NOT_IN_CONTEXT,
    ),
    (
        r"lstat \S*: no such file or directory",
        "The source stage of the copy has no such file. Paths are relative to that stage's root.",
    ),
    (
        r"target stage \"?([^\s\"]+)\"? could not be found",
        "The Dockerfile has no `FROM ... AS {0}`; `build.target` names the stage.",
    ),
    (
        r"secret (\S+?):? not found",
        "The Dockerfile needs the build secret `{0}`, which isn't configured.",
    ),
    (
        r"unknown flag: (?:--)?([\w-]+)",
        "This version of Docker doesn't support the option `--{0}`: `--link` needs Docker 23 or later, "
        "`--exclude` and `--parents` a newer one. Remove the option, or update Docker.",
    ),
    (
        r"unknown instruction: ",
        "If it is a here-document (`RUN <<EOF`): those need Docker 23 or later.",
    ),
    (
        r"Dockerfile cannot be empty|no build stage|file with no instructions",
        "The Dockerfile has no instructions; the first is `FROM`.",
    ),
    (
        # Near the end: package managers also print this about folders that they don't need.
        r"exit code: 126\b|Permission denied|EACCES",
        "A file isn't executable or writable. Scripts need `git update-index --chmod=+x FILE`; after `USER`, "
        "files may belong to another user.",
    ),
    (
        r"exit code: 127\b",
        "A command isn't in the image at this step. Install it first, or use a base image that has it.",
    ),
)

NO_ARGUMENTS: Mapping[str, str] = MappingProxyType({})

FRONTEND = re.compile(r"resolve image config for (?:docker-image://)?(\S+)")
"""The step in which BuildKit resolves the image of a `# syntax=` line."""
BASE_IMAGE = re.compile(r"\[internal\] load metadata for (\S+)")
"""The step in which it resolves the image of a `FROM` line."""

FRONTEND_HINT = (
    "Remove the `# syntax=` line: Docker's built-in frontend supports mounts, secrets and stages. "
    + _WITHOUT_HUB
)
BASE_IMAGE_HINT = (
    "Fetch it with `docker pull` on Stager's machine while it has network access, or use a local image "
    "(`docker images`){}. " + _WITHOUT_HUB
)
BASE_ARGUMENT_HINT = (
    ": the build argument {0} chooses it, by `build: {{args: {{{0}: IMAGE}}}}` or `stager up --build-arg "
    "{0}=IMAGE`"
)


def likely_cause(step: Step | None, words: str, base_arguments: Mapping[str, str] = NO_ARGUMENTS) -> str:
    """The hint for a failed build; empty if no cause matches.

    Args:
        step: the step that failed, if one did.
        words: the error, and the log's last lines.
        base_arguments: base images with the build arguments that choose them.
    """
    if step and FRONTEND.match(step.name):
        return FRONTEND_HINT
    if step and (found := BASE_IMAGE.match(step.name)):
        names = {_familiar(image): name for image, name in base_arguments.items()}
        name = names.get(_familiar(found[1]), "")
        return BASE_IMAGE_HINT.format(BASE_ARGUMENT_HINT.format(name) if name else "")
    for pattern, hint in _CAUSES:
        if found := re.search(pattern, words, re.IGNORECASE):
            return hint.format(next((group for group in found.groups() if group), ""))
    return ""


def sentence(step: Step | None, complaint: str) -> str:
    """The error sentence for a failed build.

    Args:
        complaint: output outside of the steps.
    """
    if step is None:
        return f"Building failed: {shortened(_plain(complaint), 300) or 'no reason was given'}."
    if found := FRONTEND.match(step.name):
        return f'Building failed: the `# syntax=` image "{_familiar(found[1])}" can\'t be fetched.'
    if found := BASE_IMAGE.match(step.name):
        return f'Building failed: the base image "{_familiar(found[1])}" is missing and can\'t be fetched.'
    code = step.exit_code
    why = f"exit code {code}" if code is not None else shortened(_plain(step.error), 300)
    return f"Building failed at {step} ({why})."


def _plain(error: str) -> str:
    """BuildKit's error without the names of its layers."""
    layers = r"^(?:failed to (?:solve|compute cache key|load cache key|create LLB definition|read dockerfile)"
    layers += r"(?: with frontend [\w.]+)?: |rpc error: code = \w+ desc = )+"
    error = re.sub(layers, "", error)
    error = re.sub(r"^failed to walk \S+: ", "", error)
    error = re.sub(r"lstat /\S+/buildkit-mount\d+(/\S*): no such file or directory", r'"\1" not found', error)
    return re.sub(r"/\S+/merged(?=/)", "", error).removesuffix(": not found").rstrip(".")


def _familiar(reference: str) -> str:
    """The short form of a reference: without the prefix of Docker Hub and the default tag."""
    return reference.removeprefix("docker.io/").removeprefix("library/").removesuffix(":latest")
