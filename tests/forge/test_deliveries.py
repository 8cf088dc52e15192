"""Every example of a delivery that octokit has, signed by octokit, taken in by us."""

from __future__ import annotations

import uuid
from collections import Counter

import pytest

from stager.domain.errors import Refused
from stager.domain.pull_requests.events import ChangeEvent, ChecksCompleted, CommentAdded, Ignored
from stager.forges.github.webhooks.events import GithubWebhooks
from tests.doubles.github import received, signed
from tests.forge.conftest import Example
from tests.integration.conftest import MakeStager
from tests.integration.stager import SECRET, StagerUnderTest, until
from tests.integration.test_pull_requests import quiet

PULL_REQUESTS = {
    "closed",
    "converted_to_draft",
    "edited",
    "labeled",
    "opened",
    "ready_for_review",
    "reopened",
    "synchronize",
    "unlabeled",
}
"""The actions that have an effect."""


def is_the_end_of_a_check(example: Example) -> bool:
    """None of the examples of statuses is pending, or one of ours."""
    ended = example.event in {"check_run", "check_suite"} and example.payload["action"] == "completed"
    return ended or example.event == "status"


def concerns_us(example: Example) -> bool:
    return example.event == "pull_request" and example.payload["action"] in PULL_REQUESTS


@pytest.mark.requirement("R68", "R74")
@pytest.mark.parametrize("form", [False, True], ids=["json", "form"])
def test_r74_every_example_is_verified_and_read(examples: list[Example], form: bool) -> None:
    webhooks = GithubWebhooks(SECRET)
    read: Counter[type] = Counter()
    for number, example in enumerate(examples):
        body = (example.form if form else example.body).encode()
        event = webhooks.read(received(webhooks, example.headers(str(number), form=form), body))
        read[type(event)] += 1
        assert isinstance(event, ChangeEvent) == concerns_us(example), (example.set, example.event, event)
        assert isinstance(event, ChecksCompleted) == is_the_end_of_a_check(example), (example.event, event)
        if isinstance(event, Ignored) and "repository" in example.payload:
            assert event.repository is not None, (example.set, example.event)
    assert read[ChangeEvent] >= 9
    assert read[ChecksCompleted] >= 11
    assert len([e for e in examples if e.set == "api.github.com"]) == 329


def test_a_comment_on_a_pull_request_may_be_a_command(examples: list[Example]) -> None:
    """Octokit has no example on a pull request: this is one on an issue, with what GitHub documents."""
    [example, *_] = [e for e in examples if e.event == "issue_comment" and e.payload["action"] == "created"]
    payload = example.payload
    payload["issue"]["pull_request"] = {"url": payload["issue"]["url"].replace("issues", "pulls")}
    payload["comment"]["body"] = "/stager restart"
    webhooks = GithubWebhooks(SECRET)
    event = webhooks.read(received(webhooks, *signed("issue_comment", payload, SECRET)))
    assert isinstance(event, CommentAdded)
    assert (event.number, event.text) == (payload["issue"]["number"], "/stager restart")
    assert event.author == payload["comment"]["user"]["login"]
    assert event.comment == str(payload["comment"]["id"])


@pytest.mark.requirement("R76")
def test_r76_no_example_passes_with_the_signature_of_another(examples: list[Example]) -> None:
    webhooks = GithubWebhooks(SECRET)
    for example, other in zip(examples, [*examples[1:], examples[0]], strict=True):
        if example.body == other.body:
            continue
        with pytest.raises(Refused) as refused:
            received(webhooks, other.headers("1"), example.body.encode())
        assert (refused.value.status, refused.value.reason) == (401, "signature-wrong")


@pytest.mark.requirement("R68", "R74", "R92")
def test_r74_a_real_stager_takes_every_example(examples: list[Example], make_stager: MakeStager) -> None:
    """They are about one pull request, whose last word is that it is closed."""
    stager = make_stager(images={"Hello-World": {}})
    every = [example for example in examples if example.set == "api.github.com"]
    closing = [example for example in every if concerns_us(example) and example.payload["action"] == "closed"]
    deliver(stager, [example for example in every if example not in closing])
    assert stager.wait_for("changes", "live")["generation"] == 1
    deliver(stager, closing)
    until(lambda: stager.get("changes").status_code == 410, "it is gone")
    deliver(stager, [example for example in every if example not in closing])
    quiet(stager)
    assert stager.api() == []
    until(lambda: not stager.containers(), "nothing is left")


def deliver(stager: StagerUnderTest, examples: list[Example]) -> None:
    """Over HTTP, each with an id of its own; every one is taken."""
    for example in examples:
        answer = stager._client.post(
            f"{stager.url}/webhooks/github",
            content=example.body.encode(),
            headers=example.headers(str(uuid.uuid4())),
        )
        assert answer.status_code == 202, (example.event, answer.text)
