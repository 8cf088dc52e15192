"""A reason has one meaning in all modules."""

from __future__ import annotations

from stager.control.reconciler.config_retries import INSTALLATION_REASONS
from tests.unit.docs.pages import ROOT
from tests.unit.docs.reasons import reasons, sites

SITES = sites(ROOT / "src" / "stager")

SHARED = {
    "acme-away": "the issuer of certificates doesn't answer, or not in time",
    "acme-refused": "the issuer of certificates refuses",
    "branch-missing": "the branch or tag of a launch or a snapshot is missing",
    "build-refused": "the Dockerfile, the context or a name in the recipe is invalid",
    "builder-missing": "there is no builder",
    "content-refused": "the engine refuses a file for a container",
    "create-conflict": "the engine still creates the container",
    "create-failed": "the engine refuses to create a container",
    "cross-origin": "a browser sent a request on another site's behalf",
    "data-none": "a preview has no volumes with data",
    "delivery-too-large": "a forge's delivery exceeds the limit",
    "delivery-unreadable": "a forge's delivery can't be parsed",
    "deployment-missing": "the deployment was deleted while it ran",
    "disk-full": "there is too little room to build",
    "engine-away": "Docker doesn't answer",
    "engine-error": "Docker answers with an error",
    "environment-unknown": "there is no such preview",
    "forge-answer-unreadable": "GitHub's answer doesn't match its API",
    "forge-unreachable": "a forge doesn't answer, or not in time",
    "forge-unknown": "a delivery names a forge that isn't configured",
    "front-away": "the front doesn't answer",
    "handler-failed": "a handler raised something",
    "hook-failed": "an application's own command failed",
    "image-missing": "the engine doesn't have this image",
    "image-refused": "the builder for code from forks didn't return the expected image",
    "image-unknown": "there is no entry of this name under `images:`",
    "instance-gone": "the container was removed, or no longer runs",
    "join-failed": "a container can't be connected to a network",
    "name-ambiguous": "a name matches several previews",
    "name-invalid": "a name is too long, or has characters that can't be printed",
    "network-failed": "the engine can't create a network",
    "nginx-template": "the template of vhosts can't be used",
    "node-away": "a node of the swarm can't be reached",
    "not-permitted": "the role isn't enough",
    "post-needed": "a GET would change something",
    "repository-away": "a repository of the local forge can't be read",
    "service-unknown": "there is no service of this name",
    "setup-invalid": "what was entered about an application in the browser isn't valid",
    "sign-in-denied": "the person declined the sign-in",
    "sign-in-failed": "the provider's answer doesn't authenticate the person",
    "sign-in-gone": "the sign-in has ended, or was never started",
    "sign-in-unavailable": "this way to sign in isn't configured",
    "source-failed": "git fails for an unknown reason",
    "source-too-large": "a part of a commit exceeds a limit",
    "start-failed": "the engine can't start a container",
    "state-unusable": "the state folder can't be used",
    "submodule-refused": "a submodule is on another host",
    "too-large": "a request's body exceeds the limit",
    "volume-in-use": "a running container uses the volume",
    "volume-missing": "the volume was removed",
    "value-too-large": "a value is larger than the system passes to a program",
}
"""The meaning of each reason that several modules use. A new module that uses one is listed here, or has a
reason of its own."""

OF_THE_WEB = {"Problem": "Refused", "BodyError": "Refused"}


def test_a_reason_has_one_kind() -> None:
    """Whether it is retried, and whose fault it is. Errors of `web` count as `Refused`."""
    kinds = {slug: {OF_THE_WEB.get(kind, kind) for kind, _ in those} for slug, those in SITES.items()}
    assert {slug: sorted(those) for slug, those in kinds.items() if len(those) > 1} == {}


def test_a_reason_belongs_to_one_module_or_is_listed_with_its_meaning() -> None:
    modules = {slug: {module for _, module in those} for slug, those in SITES.items()}
    assert {slug for slug, those in modules.items() if len(those) > 1} == SHARED.keys()


def test_reasons_that_are_retried_after_a_restart_exist() -> None:
    assert reasons(ROOT / "src" / "stager").keys() >= INSTALLATION_REASONS


def test_no_reason_is_too_general() -> None:
    """A single word doesn't say what it is about. The client's own errors aren't listed, and are ignored."""
    ours = {slug for slug, those in SITES.items() if {kind for kind, _ in those} != {"ClientError"}}
    assert not {"unknown", "missing", "failed", "gone"} & ours
