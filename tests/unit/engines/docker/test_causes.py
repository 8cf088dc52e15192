"""Failed builds are explained by the words that builders and package managers really use."""

from __future__ import annotations

import pytest

from stager.engines.docker.build.failure_causes import likely_cause, sentence
from stager.engines.docker.build.progress import Step

RUN = "[build 3/5] RUN npm ci"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("executor failed running [/bin/sh -c npm ci]: exit code: 127\n#6 /bin/sh: npm: not found", "`npm`"),
        ("exit code: 127\n#6 /bin/sh: 1: poetry: not found", "`poetry`"),
        ("exit code: 127\n#6 bash: line 1: yarn: command not found", "`yarn`"),
        ('runc: exec: "gulp": executable file not found in $PATH', "`gulp`"),
        (
            "executor failed running [/bin/sh -c npm ci]: exit code: 1\n"
            "npm ERR! code ENOTFOUND\nnpm ERR! request to https://registry.example.org/x failed\n"
            "npm ERR! EACCES: permission denied, mkdir '/root/.npm/_logs'",
            "isn't reachable",
        ),
        ("mkdir: cannot create directory '/data': Permission denied\nexit code: 1", "chmod=+x"),
        ("exit code: 127\n#6 /bin/sh: ./run.sh: not found", "carriage return"),
        ("exit code: 127\n#6 /bin/sh: 1: /app/run.sh: not found", "`/bin/bash`"),
        ("exit code: 127\n/bin/bash: line 1: ./run.sh: No such file or directory", "first line"),
        ("exit code: 1\n/bin/bash: line 1: /data/x: No such file or directory", ""),
        ("exit code: 126\n/bin/bash: ./run.sh: /bin/sh^M: bad interpreter: No such file", "carriage return"),
        ("exit code: 127\nbash: line 1: ./run: cannot execute: required file not found", "first line"),
        (
            "failed to walk /var/lib/docker/tmp/buildkit-mount27/dist/app: lstat "
            "/var/lib/docker/tmp/buildkit-mount27/dist/app: no such file or directory",
            ".dockerignore",
        ),
        ("dockerfile parse error line 2: Unknown flag: exclude", "`--exclude`"),
        ("dockerfile parse error on line 2: unknown flag: --parents", "`--parents`"),
        ("exit code: 127", "A command isn't in the image"),
        ("exit code: 137", "memory"),
        ("FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory", "memory"),
        ("write /x: no space left on device", "disk is full"),
        ("npm ERR! code ENOSPC", "disk is full"),
        ("/bin/sh: ./build.sh: Permission denied\nexit code: 126", "chmod=+x"),
        ("exec /usr/bin/node: exec format error", "processor architecture"),
        (
            "npm ERR! `npm ci` can only install packages when your package.json and package-lock.json",
            "lock file",
        ),
        ("ERR_PNPM_OUTDATED_LOCKFILE  Cannot install with frozen-lockfile", "lock file"),
        (
            "pyproject.toml changed significantly since poetry.lock was last generated. Run `poetry lock`",
            "lock file",
        ),
        (
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE",
            "differs from the locked one",
        ),
        ("ERROR: No matching distribution found for flask==99", "doesn't exist in this version"),
        ("npm ERR! code SELF_SIGNED_CERT_IN_CHAIN", "NODE_EXTRA_CA_CERTS"),
        ("fatal: unable to access: Could not resolve host: example.org", "isn't reachable"),
        ("npm ERR! getaddrinfo EAI_AGAIN registry", "isn't reachable"),
        ("wget: bad address 'example.org'", "isn't reachable"),
        ('"/package.json" not found: not found', ".dockerignore"),
        ('"/.git" not found: not found', "`ARG STAGER_SHA`"),
        ('"/.git/HEAD" not found: not found', "`ARG STAGER_SHA`"),
        ('"/.gitignore" not found: not found', ".dockerignore"),
        ("fatal: not a git repository (or any of the parent directories): .git", "`ARG STAGER_SHA`"),
        ("lstat /var/lib/docker/overlay2/0f/merged/dist: no such file or directory", "that stage's root"),
        ("target stage assets could not be found", "AS assets`"),
        ('target stage "assets" could not be found', "AS assets`"),
        ("secret npm_token not found: not found", "`npm_token`"),
        ("secret npm_token: not found", "`npm_token`"),
        ("dockerfile parse error line 3: unknown instruction: LS", "here-document"),
        ("the Dockerfile cannot be empty", "the first is `FROM`"),
        ("exit code: 1\n#6 1 test failed", ""),
    ],
)
def test_a_likely_cause(words: str, hint: str) -> None:
    found = likely_cause(Step(RUN, words), words)

    assert hint in found
    assert bool(hint) == bool(found)


@pytest.mark.parametrize(
    ("step", "complaint", "said"),
    [
        (
            Step(RUN, "executor failed running [/bin/sh -c npm ci]: exit code: 1"),
            "",
            "Building failed at step 3/5 of stage build: RUN npm ci (exit code 1).",
        ),
        (
            Step("[2/2] RUN make", 'process "/bin/sh -c make" did not complete successfully: exit code: 2'),
            "",
            "Building failed at step 2/2: RUN make (exit code 2).",
        ),
        (
            Step("[2/2] COPY dist /x", '"/dist" not found: not found'),
            "",
            'Building failed at step 2/2: COPY dist /x ("/dist" not found).',
        ),
        (
            Step(
                "[2/2] COPY dist/app/index.html /www/",
                "failed to compute cache key: failed to walk /var/lib/docker/tmp/buildkit-mount27/dist/app: "
                "lstat /var/lib/docker/tmp/buildkit-mount27/dist/app: no such file or directory",
            ),
            "",
            'Building failed at step 2/2: COPY dist/app/index.html /www/ ("/dist/app" not found).',
        ),
        (
            Step("[internal] load metadata for docker.io/library/python:3.12-slim", "failed to do request"),
            "",
            'Building failed: the base image "python:3.12-slim" is missing and can\'t be fetched.',
        ),
        (
            Step("resolve image config for docker-image://docker.io/docker/dockerfile:1", "no such host"),
            "",
            'Building failed: the `# syntax=` image "docker/dockerfile:1" can\'t be fetched.',
        ),
        (
            None,
            "failed to solve: rpc error: code = Unknown desc = failed to solve with frontend dockerfile.v0: "
            "failed to create LLB definition: dockerfile parse error line 2: unknown instruction: RUNN",
            "Building failed: dockerfile parse error line 2: unknown instruction: RUNN.",
        ),
        (None, "", "Building failed: no reason was given."),
    ],
)
def test_what_happened(step: Step | None, complaint: str, said: str) -> None:
    assert sentence(step, complaint) == said


def test_a_base_image_that_isnt_here_is_no_trouble_of_the_network() -> None:
    step = Step(
        "[internal] load metadata for docker.io/library/x:1", "dial tcp: lookup registry: no such host"
    )

    assert "docker pull" in likely_cause(step, step.error)
    assert "Docker Hub" in likely_cause(step, step.error)


def test_the_argument_that_chooses_a_missing_base_image() -> None:
    step = Step("[internal] load metadata for docker.io/library/python:3", "dial tcp: no such host")
    found = likely_cause(step, step.error, {"python:3": "PYTHON_BASE", "node": "NODE_BASE"})
    assert "`stager up --build-arg PYTHON_BASE=IMAGE`" in found
    assert "`build: {args: {PYTHON_BASE: IMAGE}}`" in found
    other = Step("[internal] load metadata for docker.io/library/node:latest", "dial tcp: no such host")
    assert "NODE_BASE=IMAGE" in likely_cause(other, other.error, {"node": "NODE_BASE"})
    assert "--build-arg" not in likely_cause(other, other.error, {"python:3": "PYTHON_BASE"})
