"""Each command of the how-to pages, the README and the tutorial is run as written by a test, or can't be."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.unit.docs.pages import ROOT, Sample
from tests.unit.docs.written import all_samples, uses

NOT_RUN: Mapping[tuple[str, str], str] = {
    ("README.md", "scripts/demo"): "is CI itself; tests/integration/test_demo.py runs the demo",
    (
        "sign-in-with-openid-connect.md",
        "stager configure",
    ): "a person signs in at their provider in a browser",
    ("nginx-and-https.md", "sudo certbot certonly"): "takes a domain and its DNS provider's account",
    ("haproxy.md", "sudo certbot certonly"): "takes a domain and its DNS provider's account",
    ("memory-of-sleeping-previews.md", "sudo apt-get install zram-tools"): "changes the machine's own swap",
    ("walkthrough-with-a-prepared-image.md", "ssh-keygen -t ed25519"): "asks GitHub for its keys",
}
"""Samples without a test, by page and beginning, each with what it would need."""
RUN_WHOLE: Mapping[str, str] = {
    "application-with-a-database.md": "tests/integration/test_database_guide.py",
}
"""Pages of which a test reads and runs all samples, with that test."""


def starts_of(sample: Sample) -> list[tuple[str, str]]:
    """The listed beginnings that a sample has."""
    listed = [(use.page, use.start) for use in uses()] + list(NOT_RUN)
    return [
        (page, start) for page, start in listed if page == sample.page.name and sample.text.startswith(start)
    ]


def test_every_command_is_run_by_a_test() -> None:
    others = [sample for sample in all_samples() if sample.page.name not in RUN_WHOLE]
    missing = [f"{each}: {each.text.splitlines()[0]}" for each in others if not starts_of(each)]
    assert missing == [], "run them in a test by tests.unit.docs.written.page_sample()"


@pytest.mark.parametrize("page", RUN_WHOLE)
def test_the_test_of_a_whole_page_reads_it(page: str) -> None:
    assert page in (ROOT / RUN_WHOLE[page]).read_text("utf-8")


def test_every_listed_sample_exists() -> None:
    found = {pair for sample in all_samples() for pair in starts_of(sample)}
    assert {(use.page, use.start) for use in uses()} | NOT_RUN.keys() == found
