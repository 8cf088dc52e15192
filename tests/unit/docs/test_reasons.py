"""A reason means one thing, wherever it is given."""

from __future__ import annotations

from stager.control.reconciler.config_retries import OF_THE_INSTALLATION
from tests.unit.docs.pages import ROOT
from tests.unit.docs.reasons import reasons, sites

SITES = sites(ROOT / "src" / "stager")

SHARED = {
    "build-refused": "the Dockerfile, the context or a name in the recipe isn't one to build by",
    "builder-missing": "there is nothing that could build",
    "cross-origin": "a browser sent a request on another site's behalf",
    "delivery-too-large": "a forge's delivery is larger than one may be",
    "delivery-unreadable": "a forge's delivery isn't what that forge sends",
    "deployment-missing": "the deployment was forgotten while it was under way",
    "disk-full": "there is too little room to build",
    "engine-away": "Docker doesn't answer",
    "forge-answer-unreadable": "what GitHub answers isn't what it promises",
    "forge-unknown": "a delivery names a forge that isn't configured",
    "front-away": "the front doesn't answer",
    "handler-failed": "a handler raised something",
    "hook-failed": "an application's own command failed",
    "image-missing": "the engine doesn't have this image",
    "image-refused": "the builder for code from forks didn't hand over the image that it was to make",
    "image-unknown": "there is no entry of this name under `images:`",
    "instance-gone": "the container was removed, or doesn't run any more",
    "nginx-template": "the template of vhosts can't be used",
    "not-permitted": "the role isn't enough",
    "post-needed": "a GET would change something",
    "repository-away": "a repository of the local forge can't be read",
    "sign-in-denied": "whoever was to sign in said no",
    "sign-in-failed": "the provider's answer doesn't prove who it is",
    "sign-in-gone": "the sign-in is over, or never began",
    "sign-in-unavailable": "nobody can sign in this way here",
    "source-failed": "git says no to a repository for a reason that isn't known here",
    "source-too-large": "what is to be read of a commit is over a limit",
    "state-unusable": "the state folder can't be used",
    "submodule-refused": "a submodule leads elsewhere",
    "too-large": "a request's body is larger than it may be",
    "value-too-large": "a value is larger than the system hands to a program",
}
"""What the reasons mean that are given in several modules: a new module that gives one adds to this list, or
takes a reason of its own."""

OF_THE_WEB = {"Problem": "Refused", "BodyError": "Refused"}


def test_a_reason_has_one_kind() -> None:
    """Whether it is worth another try, and whose fault it is. What the web answers counts as `Refused`."""
    kinds = {slug: {OF_THE_WEB.get(kind, kind) for kind, _ in those} for slug, those in SITES.items()}
    assert {slug: sorted(those) for slug, those in kinds.items() if len(those) > 1} == {}


def test_a_reason_is_given_in_one_module_or_means_the_same_in_all() -> None:
    modules = {slug: {module for _, module in those} for slug, those in SITES.items()}
    assert {slug for slug, those in modules.items() if len(those) > 1} == SHARED.keys()


def test_those_that_bring_another_try_are_given_somewhere() -> None:
    assert reasons(ROOT / "src" / "stager").keys() >= OF_THE_INSTALLATION


def test_no_reason_is_too_general() -> None:
    """One word alone doesn't say of which thing; the client's own endings, which nothing lists, aside."""
    ours = {slug for slug, those in SITES.items() if {kind for kind, _ in those} != {"ClientError"}}
    assert not {"unknown", "missing", "failed", "gone"} & ours
