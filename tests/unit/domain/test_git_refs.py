"""Which names a manual launch may give."""

from __future__ import annotations

import pytest

from stager.domain.pull_requests.git_refs import full_names, ids_in, named_outside

SHA = "a1b2c3d4" * 5


@pytest.mark.parametrize(
    ("name", "outside"),
    [
        ("main", ""),
        ("pull/34/head", "pull/34/head"),
        ("main +pull/34/head:x", "pull/34/head"),
        ("refs/heads/pull/34/head", ""),
        ("refs/tags/v1", ""),
        ("refs/heads/../pull/34/head", "refs/heads/../pull/34/head"),
        ("refs/Heads/x", "refs/Heads/x"),
        ("refs/", "refs/"),
        ("HEAD", "HEAD"),
        ("ORIG_HEAD", "ORIG_HEAD"),
        ("OVERHEAD", ""),
        ("pull/request/1", ""),
    ],
)
def test_what_means_no_branch_and_no_tag(name: str, outside: str) -> None:
    assert named_outside(name) == outside


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (SHA, SHA),
        (SHA.upper(), SHA.upper()),
        (f"main:{SHA}", SHA),
        (SHA[:39], ""),
        (f"{SHA}0", ""),
        ("main", ""),
    ],
)
def test_whole_ids(name: str, found: str) -> None:
    assert ids_in(name) == found


def test_a_full_name_means_itself_alone() -> None:
    assert full_names("x") == ("refs/heads/x", "refs/tags/x")
    assert full_names("refs/tags/x") == ("refs/tags/x",)
