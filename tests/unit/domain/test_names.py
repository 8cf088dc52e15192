"""Any name becomes a DNS label, the first Stager's one where that is legal."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stager.domain.names import (
    LABEL_LENGTH,
    MIN_SLUG_LENGTH,
    RESERVED,
    SLUG_RULES,
    SlugRule,
    did_you_mean,
    host_parts,
    is_reserved,
    labels,
    slugify,
)

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""RFC 1123, section 2.1."""


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("master", "master"),
        ("feature/login form", "feature-login-form"),
        ("feature/x", "feature-x"),
        ("Fix/The_Thing", "fix-the-thing"),
        ("name_to_give_container", "name-to-give-container"),
        ("fix #12: crash", "fix-12-crash"),
        ("dependabot/npm_and_yarn/a--b-1.2.3", "dependabot-npm-and-yarn-a-b-1-2-3"),
        ("v1.0", "v1-0"),
        ("größe", "grosse"),
        ("Çédille", "cedille"),
        ("æther", "aether"),
        ("-dash-", "dash"),
        ("--", ""),
        ("", ""),
        ("日本語", ""),
        ("日本-x", "x"),
        ("🚀", ""),
        ("xn--bcher-kva", "xn-bcher-kva"),
        ("\N{FULLWIDTH LATIN SMALL LETTER A}b", "ab"),
        ("\N{ARABIC-INDIC DIGIT ONE}", ""),
        ("a\x00b\nc", "a-b-c"),
        ("\ud800x", "x"),
    ],
)
def test_slug(name: str, slug: str) -> None:
    assert slugify(name) == slug


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("master", "master"),
        ("Master", "master"),
        ("feature/x", "featurex"),
        ("feature_x", "feature-x"),
        ("fix #12: crash", "fix-12--crash"),
        ("a.b.c", "a-b-c"),
        ("v1.0", "v1-0"),
        ("größe", "grobe"),
        ("Übergröße", "ubergrobe"),
        ("Çédille", "cedille"),
        ("æther", "aether"),
        ("-dash-", "dash"),
        ("--", ""),
        ("", ""),
        ("日本語", ""),
        ("日本-x", "x"),
        ("🚀", ""),
        ("xn--bcher-kva", "xn-bcher-kva"),
        ("\N{FULLWIDTH LATIN SMALL LETTER A}b", "ab"),
        ("\N{ARABIC-INDIC DIGIT ONE}", ""),
        ("a\x00b\nc", "abc"),
        ("\ud800x", "x"),
    ],
)
def test_legacy_slug(name: str, slug: str) -> None:
    assert slugify(name, "legacy") == slug


@example("\N{MATHEMATICAL SANS-SERIF BOLD CAPITAL A}", "standard")
@example("\N{MATHEMATICAL SANS-SERIF BOLD CAPITAL A}", "legacy")
@given(st.text(), st.sampled_from(SLUG_RULES))
def test_a_slug_of_anything_is_empty_or_would_do_but_for_its_length(name: str, rule: SlugRule) -> None:
    slug = slugify(name, rule)

    assert slug == "" or LABEL.fullmatch(slug[:LABEL_LENGTH].rstrip("-"))
    assert not slug.startswith("xn--")
    assert slugify(slug, rule) == slug
    assert rule == "legacy" or "--" not in slug


@pytest.mark.parametrize("name", ["default", "DEFAULT", " default ", "-default-", "défault", "de/fault"])
def test_reserved(name: str) -> None:
    assert is_reserved(name)


@pytest.mark.parametrize("name", ["", "defaults", "my-default", "de-fault"])
def test_not_reserved(name: str) -> None:
    assert not is_reserved(name)


def test_labels_best_first() -> None:
    first, with_app, with_hash = labels("feature/x", app="My Shop", key="k")

    assert (first, with_app) == ("feature-x", "feature-x-my-shop")
    assert re.fullmatch(r"feature-x-[0-9a-f]{6}", with_hash)


def test_labels_of_what_has_no_slug_of_its_own() -> None:
    for name in ("default", "日本語", "x" * 64):
        [only] = labels(name, app="shop", key="k")
        assert LABEL.fullmatch(only)
        assert only not in RESERVED


@pytest.mark.parametrize("length", [1, 55, 56, 57, 58, 62, 63, 64, 80, 255])
def test_labels_of_any_length(length: int) -> None:
    for label in labels("x" * length, app="shop", key="k"):
        assert LABEL.fullmatch(label)


@pytest.mark.parametrize(
    "template",
    [
        "{slug}.{domain}",
        "{slug}-{app}.{domain}",
        "pr-{slug}.{app}.preview.{domain}",
        "{app}-{slug}-{slug}.{domain}",
        f"{'a' * (LABEL_LENGTH - MIN_SLUG_LENGTH)}{{slug}}.{{domain}}",
    ],
)
@pytest.mark.parametrize("app", ["shop", "a" * 40, "a-" * 40])
@pytest.mark.parametrize("length", [1, 8, 30, 55, 63, 64, 255])
def test_hosts_of_any_template_have_labels_that_fit(template: str, app: str, length: int) -> None:
    part, room = host_parts(template, app)
    for slug in labels("x" * length, app=app, key="k", room=room):
        host = template.format(slug=slug, app=part, domain="d.test")
        assert all(LABEL.fullmatch(label) for label in host.split("."))


def test_a_template_leaves_short_names_alone() -> None:
    assert host_parts("{slug}.{domain}", "My Shop") == ("my-shop", LABEL_LENGTH)
    assert host_parts("{slug}-{app}.{domain}", "My Shop") == ("my-shop", LABEL_LENGTH - 8)


def test_a_cut_label_doesnt_end_in_two_dashes() -> None:
    *_, last = labels("a" * 55 + "-" + "b" * 20, app="shop", key="k")

    assert "--" not in last


def test_the_hash_is_the_keys_and_never_changes() -> None:
    *_, mine = labels("feature/x", app="shop", key="shop/change:10/7")
    *_, other = labels("feature/x", app="shop", key="shop/change:10/8")

    assert mine == "feature-x-d3572a"
    assert mine != other


@example("\N{MATHEMATICAL SANS-SERIF BOLD CAPITAL A}", "shop", "k")
@given(st.text(), st.text(), st.text())
def test_labels_of_anything_will_do(name: str, app: str, key: str) -> None:
    standard = list(labels(name, app=app, key=key))
    every = [*standard, *labels(name, app=app, key=key, rule="legacy")]

    assert every
    for label in every:
        assert LABEL.fullmatch(label)
        assert label not in RESERVED
    assert not any("--" in label for label in standard)


def test_did_you_mean() -> None:
    assert did_you_mean("shpo", ["blog", "shop"]) == 'did you mean "shop"?'
    assert did_you_mean("zzz", ["blog", "shop"]) == ""
    assert did_you_mean("shop", []) == ""
