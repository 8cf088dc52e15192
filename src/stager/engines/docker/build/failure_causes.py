"""Why builds fail, as far as that can be told from the words they end with: what a person who knows would
say when shown the last lines. One table, the first line that fits counts.
"""

from __future__ import annotations

import re

from stager.engines.docker.build.progress import Step, shortened

_WITHOUT_HUB = "docs/how-to/build-from-source.md has ways to run without Docker Hub."

_NOT_IN_CONTEXT = (
    "It isn't in the build context, or `.dockerignore` leaves it out. Paths are from the folder "
    "`build.context`, and capital letters matter."
)
_CAUSES: tuple[tuple[str, str], ...] = (
    (
        r"no space left on device|ENOSPC|Disk quota exceeded",
        "The disk is full. `docker system df` on Stager's machine tells what takes the room.",
    ),
    (
        r"exit code: 137\b|out of memory|JavaScript heap|Cannot allocate memory|MemoryError",
        "It was killed, most likely for want of memory. Let the step use less, such as fewer jobs at once.",
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
        "There is no `{0}` in the image at this step. Install it before, or begin with an image that has it.",
    ),
    (
        r"exec format error",
        "A program in the image is made for another kind of processor.",
    ),
    (
        r"npm ci.{0,20}can only install|EUSAGE|lockfile needs to be updated|ERR_PNPM_OUTDATED_LOCKFILE"
        r"|poetry\.lock|lock ?file.{0,40}(?:out of date|needs to be updated|not up to date)",
        "The lock file doesn't fit what it locks. Install once on your own machine, and commit both files.",
    ),
    (
        r"DO NOT MATCH THE HASHES|EINTEGRITY|checksum mismatch",
        "What was downloaded isn't what was locked. Lock again, or look at the package index in between.",
    ),
    (
        r"No matching distribution found for|404 Not Found.{0,80}?registry|E404|ResolutionImpossible",
        "A dependency isn't to be had in this version, or not for this version of the language.",
    ),
    (
        r"SELF_SIGNED_CERT|certificate verify failed|x509: certificate|unable to get local issuer",
        "A certificate isn't trusted inside the build. The base image needs your certificate authority; npm "
        "is told of it by NODE_EXTRA_CA_CERTS, pip by PIP_CERT.",
    ),
    (
        r"Could not resolve host|Temporary failure (?:in name resolution|resolving)|EAI_AGAIN|ENOTFOUND"
        r"|Network is unreachable|ETIMEDOUT|ECONNREFUSED|Connection timed out|no such host|dial tcp"
        r"|Failed to establish a new connection|bad address",
        "What it asked for isn't reachable from inside the build. Is the machine online, and does Docker "
        "have the right name server and proxy?",
    ),
    (
        r"\"/\.git(?:/[^\"]*)?\" not found|buildkit-mount\d+/\.git\b|not a git repository",
        "The build context has the commit's files alone, without `.git` and the history. A line "
        "`ARG STAGER_SHA` in the Dockerfile has the commit's id; `build.args` passes on what else it takes.",
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
        "The stage that it is copied from has no such file. Paths are from that stage's root.",
    ),
    (
        r"target stage \"?([^\s\"]+)\"? could not be found",
        "The Dockerfile has no `FROM ... AS {0}`; `build.target` names the stage.",
    ),
    (
        r"secret (\S+?):? not found",
        "The Dockerfile wants a build secret `{0}`, and the configuration has none of that name.",
    ),
    (
        r"unknown flag: (?:--)?([\w-]+)",
        "This Docker's reader of Dockerfiles doesn't know the option `--{0}`: `--link` needs Docker 23 or "
        "later, `--exclude` and `--parents` a newer one. Do without, or update Docker.",
    ),
    (
        r"unknown instruction: ",
        "Is it a here-document (`RUN <<EOF`)? Those need Docker 23 or later.",
    ),
    (
        r"Dockerfile cannot be empty|no build stage|file with no instructions",
        "The Dockerfile has nothing in it yet; it begins with `FROM`.",
    ),
    (
        # Last but one: package managers also complain of folders that they can do without.
        r"exit code: 126\b|Permission denied|EACCES",
        "Something may not be run or written. Scripts need `git update-index --chmod=+x FILE`; after `USER`, "
        "files may belong to somebody else.",
    ),
    (
        r"exit code: 127\b",
        "A command isn't in the image at this step. Install it before, or begin with an image that has it.",
    ),
)

FRONTEND = re.compile(r"resolve image config for (?:docker-image://)?(\S+)")
"""The step in which BuildKit looks for what a `# syntax=` line names."""
BASE_IMAGE = re.compile(r"\[internal\] load metadata for (\S+)")
"""The step in which it looks for what a `FROM` line names."""

FRONTEND_HINT = (
    "Remove the `# syntax=` line: Docker's own reader of Dockerfiles knows mounts, secrets and stages. "
    + _WITHOUT_HUB
)
BASE_IMAGE_HINT = (
    "Fetch it where the network is (`docker pull` on Stager's machine), or begin with an image that is there "
    "(`docker images`). " + _WITHOUT_HUB
)


def likely_cause(step: Step | None, words: str) -> str:
    """What to do about a failed build; empty when nothing is known that fits.

    Args:
        step: the step that failed, if one did.
        words: the error, and the log's last lines.
    """
    if step and FRONTEND.match(step.name):
        return FRONTEND_HINT
    if step and BASE_IMAGE.match(step.name):
        return BASE_IMAGE_HINT
    for pattern, hint in _CAUSES:
        if found := re.search(pattern, words, re.IGNORECASE):
            return hint.format(next((group for group in found.groups() if group), ""))
    return ""


def sentence(step: Step | None, complaint: str) -> str:
    """What happened, in one sentence.

    Args:
        complaint: what was said beside the steps.
    """
    if step is None:
        return f"Building failed: {shortened(_plain(complaint), 300) or 'it said nothing of why'}."
    if found := FRONTEND.match(step.name):
        return (
            f'Building failed: the `# syntax=` line names "{_familiar(found[1])}", which can\'t be fetched.'
        )
    if found := BASE_IMAGE.match(step.name):
        return f"Building failed: the base image \"{_familiar(found[1])}\" isn't here, and can't be fetched."
    code = step.exit_code
    why = f"exit code {code}" if code is not None else shortened(_plain(step.error), 300)
    return f"Building failed at {step} ({why})."


def _plain(error: str) -> str:
    """BuildKit's words without those that only say which part of it handed them on."""
    layers = r"^(?:failed to (?:solve|compute cache key|load cache key|create LLB definition|read dockerfile)"
    layers += r"(?: with frontend [\w.]+)?: |rpc error: code = \w+ desc = )+"
    error = re.sub(layers, "", error)
    error = re.sub(r"^failed to walk \S+: ", "", error)
    error = re.sub(r"lstat /\S+/buildkit-mount\d+(/\S*): no such file or directory", r'"\1" not found', error)
    return re.sub(r"/\S+/merged(?=/)", "", error).removesuffix(": not found").rstrip(".")


def _familiar(reference: str) -> str:
    """As people write it: without what Docker puts before names of its hub."""
    return reference.removeprefix("docker.io/").removeprefix("library/")
