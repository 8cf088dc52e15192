"""Which pull requests get a preview, and the sentence for each no."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stager.domain.environment import Suspension, SuspensionReason
from stager.domain.pull_requests.rules import Rules, refusal, refusal_by_paths
from stager.domain.source import Change, Repository
from stager.settings.values.patterns import Pattern

SHOP = Repository("github:101", "acme", "shop")
CHANGE = Change(
    repository=SHOP,
    number=7,
    is_open=True,
    head_sha="a1",
    head_ref="feature-x",
    head_repository=SHOP,
    base_ref="main",
    title="Add a cart",
    author="octocat",
    url="https://forge.test/acme/shop/pull/7",
    updated_at=datetime(2026, 1, 1, tzinfo=UTC),
)
ASKED_FOR_NONE = "its author opted out with"


def change(**given: Any) -> Change:
    return replace(CHANGE, **given)


def complaint(found: Suspension | None) -> str:
    """What the refusal says between "No preview: " and the full stop; empty without one."""
    if found is None:
        return ""
    assert found.reason is SuspensionReason.RULES
    assert found.message.startswith("No preview: ")
    assert found.message.endswith(".")
    return found.message.removeprefix("No preview: ").removesuffix(".")


def refused(given: Change, **rules: Any) -> str:
    return complaint(refusal(Rules(**_with_patterns(rules)), given))


def _with_patterns(rules: dict[str, Any]) -> dict[str, Any]:
    return {key: Pattern(value) if "title" in key else value for key, value in rules.items()}


class TestNoRules:
    def test_anybodys_change_gets_a_preview(self) -> None:
        assert refused(CHANGE) == ""

    @pytest.mark.parametrize(
        "given",
        [
            {"draft": True},
            {"labels": ("bug", "no-preview")},
            {"base_ref": "release/1"},
            {"author": ""},
            {"title": ""},
            {"head_repository": None},
        ],
    )
    def test_what_isnt_configured_doesnt_count(self, given: dict[str, Any]) -> None:
        assert refused(change(**given)) == ""

    def test_but_for_bots(self) -> None:
        assert refused(change(author_is_bot=True)) == "a bot opened this pull request"


class TestSkipped:
    @pytest.mark.parametrize(
        "text",
        [
            "[skip preview]",
            "[no preview]",
            "[preview skip]",
            "[SKIP Preview]",
            "Fix a typo [skip preview]",
            "line\n\n[No Preview]\nline",
        ],
    )
    def test_by_title_or_description(self, text: str) -> None:
        assert refused(change(title=text)).startswith(ASKED_FOR_NONE)
        assert refused(change(description=text)).startswith(ASKED_FOR_NONE)

    @pytest.mark.parametrize(
        "text", ["skip preview", "[skip  preview]", "[skip ci]", "[skippreview]", "[preview]", "(no preview)"]
    )
    def test_other_words_ask_for_nothing(self, text: str) -> None:
        assert refused(change(title=text, description=text)) == ""

    def test_quotes_what_was_written_there(self) -> None:
        assert refused(change(title="x [No Preview] y")) == f"{ASKED_FOR_NONE} `[No Preview]`"


class TestBots:
    def test_are_allowed_by_the_configuration(self) -> None:
        assert refused(change(author_is_bot=True), bots=True) == ""

    def test_are_none_by_their_name(self) -> None:
        assert refused(change(author="robot[bot]")) == ""


class TestAuthors:
    @pytest.mark.parametrize(
        ("authors", "author", "fits"),
        [
            (("octocat",), "octocat", True),
            (("OctoCat",), "octocat", True),
            (("octocat",), "OCTOCAT", True),
            (("ann", "octocat"), "octocat", True),
            (("ann",), "octocat", False),
            (("octo",), "octocat", False),
            (("octo*",), "octocat", False),
            (("ann",), "", False),
        ],
    )
    def test_who_is_listed(self, authors: tuple[str, ...], author: str, fits: bool) -> None:
        said = "" if fits else "its author isn't on the list of authors whose pull requests get one"
        assert refused(change(author=author), authors=authors) == said


class TestBases:
    @pytest.mark.parametrize(
        ("bases", "base", "fits"),
        [
            (("main",), "main", True),
            (("main",), "Main", False),
            (("main",), "mainline", False),
            (("release/*",), "release/1", True),
            (("release/*",), "release/1/fix", True),
            (("release/*",), "release", False),
            (("main", "release/*"), "release/2", True),
            (("v[0-9]",), "v1", True),
            (("v[0-9]",), "vx", False),
            (("v?",), "v10", False),
            (("*",), "", True),
        ],
    )
    def test_patterns(self, bases: tuple[str, ...], base: str, fits: bool) -> None:
        assert (refused(change(base_ref=base), bases=bases) == "") is fits

    def test_names_all_of_them(self) -> None:
        found = refused(change(base_ref="x"), bases=("main", "release/*"))
        assert found == 'only pull requests into "main" or "release/*" get one'


class TestDrafts:
    @pytest.mark.parametrize(("draft", "drafts"), [(False, False), (False, True), (True, True)])
    def test_that_get_one(self, draft: bool, drafts: bool) -> None:
        assert refused(change(draft=draft), drafts=drafts) == ""

    def test_that_dont(self) -> None:
        found = refusal(Rules(drafts=False), change(draft=True))

        assert complaint(found) == "this is a draft"
        assert found
        assert found.hint == "Mark it as ready for review to get a preview."


class TestLabels:
    @pytest.mark.parametrize(
        ("wanted", "borne", "said"),
        [
            (("preview",), ("preview",), ""),
            (("Preview",), ("preview",), ""),
            (("preview",), ("bug", "PREVIEW"), ""),
            (("preview", "demo"), ("demo",), ""),
            (("preview",), (), 'it doesn\'t have the label "preview"'),
            (("preview",), ("previews",), 'it doesn\'t have the label "preview"'),
            (("preview", "demo"), ("bug",), 'it doesn\'t have the label "preview" or "demo"'),
        ],
    )
    def test_one_of_these(self, wanted: tuple[str, ...], borne: tuple[str, ...], said: str) -> None:
        assert refused(change(labels=borne), labels=wanted) == said

    @pytest.mark.parametrize(
        ("unwanted", "borne", "said"),
        [
            (("wip",), (), ""),
            (("wip",), ("bug",), ""),
            (("wip",), ("wip",), 'it has the label "wip"'),
            (("wip",), ("bug", "WIP"), 'it has the label "WIP"'),
            (("wip", "stale"), ("stale", "wip"), 'it has the label "stale"'),
        ],
    )
    def test_none_of_these(self, unwanted: tuple[str, ...], borne: tuple[str, ...], said: str) -> None:
        assert refused(change(labels=borne), without_labels=unwanted) == said

    def test_a_forbidden_one_beside_a_wanted_one(self) -> None:
        found = refused(change(labels=("preview", "wip")), labels=("preview",), without_labels=("wip",))
        assert found == 'it has the label "wip"'


class TestTitle:
    @pytest.mark.parametrize(
        ("pattern", "title", "fits"),
        [
            ("cart", "Add a cart", True),
            ("^cart", "Add a cart", False),
            (r"^(feat|fix)(\(.+\))?:", "feat(cart): add", True),
            (r"^(feat|fix)(\(.+\))?:", "chore: add", False),
            ("CART", "Add a cart", False),
            ("(?i)CART", "Add a cart", True),
            (r"\bPROJ-\d+", "PROJ-12 add", True),
            (".", "", False),
        ],
    )
    def test_contains_what_the_expression_matches(self, pattern: str, title: str, fits: bool) -> None:
        assert refused(change(title=title), title=pattern) == (
            "" if fits else f"its title doesn't match `{pattern}`"
        )

    @pytest.mark.parametrize(
        ("title", "fits"), [("WIP: cart", False), ("wip cart", False), ("Add WIP", True)]
    )
    def test_may_say_what_it_must_not_contain(self, title: str, fits: bool) -> None:
        assert refused(change(title=title), without_title="(?i)^wip") == (
            "" if fits else "its title matches `(?i)^wip`"
        )

    def test_of_a_stranger_costs_no_time(self) -> None:
        began = time.process_time()
        assert refused(change(title="a" * 30 + "!"), title=r"^(\w+\s?)+$") != ""
        assert refused(change(title="a" * 100_000 + "!"), without_title=r"^(\w+\s?)+$") == ""
        assert time.process_time() - began < 1

    def test_with_what_utf_8_does_not_have(self) -> None:
        assert refused(change(title="\ud800 cart"), title="cart") == ""


class TestPaths:
    @pytest.mark.parametrize(
        ("patterns", "paths", "fits"),
        [
            ((), [], True),
            ((), ["README"], True),
            (("web/*",), ["web/a.css"], True),
            (("web/*",), ["web/a/b/c.css"], True),
            (("web/*",), ["web"], False),
            (("web/*",), ["src/web/a"], False),
            (("*/web/*",), ["src/web/a"], True),
            (("*.css",), ["docs/x", "web/a.css"], True),
            (("*.CSS",), ["web/a.css"], False),
            (("web/*", "Dockerfile"), ["Dockerfile"], True),
            (("web/*",), [], False),
            (("über/*",), ["über/x"], True),
        ],
    )
    def test_one_file_that_fits_is_enough(
        self, patterns: tuple[str, ...], paths: list[str], fits: bool
    ) -> None:
        assert (refusal_by_paths(Rules(paths=patterns), paths) is None) is fits

    @pytest.mark.parametrize(
        "pattern", ["*a" * 30 + "b", "*[ab]" * 30 + "c", "?*" * 30 + "b", "*?a" * 20 + "*b*c"]
    )
    def test_of_a_stranger_cost_no_time(self, pattern: str) -> None:
        """`fnmatch` gives nothing back that it matched once: no path makes it try all ways."""
        began = time.process_time()
        assert refusal_by_paths(Rules(paths=(pattern,)), ["a" * 4_000]) is not None
        assert refused(change(base_ref="a" * 4_000), bases=(pattern,)) != ""
        assert time.process_time() - began < 2

    def test_names_what_is_required(self) -> None:
        found = refusal_by_paths(Rules(paths=("web/*", "*.css")), ["README"])
        assert complaint(found) == 'this pull request changes no file that matches "web/*" or "*.css"'

    def test_arent_read_unless_configured(self) -> None:
        assert refused(CHANGE, paths=("web/*",)) == ""


class TestOrder:
    """The most important reason is the one that is shown."""

    EVERYTHING = Rules(
        labels=("preview",),
        without_labels=("wip",),
        title=Pattern("^feat"),
        authors=("ann",),
        bases=("release/*",),
        drafts=False,
    )
    TOLD = (
        ASKED_FOR_NONE,
        "a bot opened",
        "its author isn't",
        "only pull requests into",
        "this is a draft",
        "it doesn't have",
        "it has",
        "its title",
    )

    def test_one_after_the_other(self) -> None:
        now = change(
            title="chore [skip preview]", author_is_bot=True, draft=True, labels=("wip",), base_ref="main"
        )
        steps: tuple[dict[str, Any], ...] = (
            {},
            {"title": "chore"},
            {"author_is_bot": False},
            {"author": "Ann"},
            {"base_ref": "release/1"},
            {"draft": False},
            {"labels": ("wip", "preview")},
            {"labels": ("preview",)},
        )
        for step, told in zip(steps, self.TOLD, strict=True):
            now = replace(now, **step)
            assert complaint(refusal(self.EVERYTHING, now)).startswith(told)
        assert refusal(self.EVERYTHING, replace(now, title="feat: cart")) is None


@given(
    st.builds(
        Rules,
        labels=st.lists(st.sampled_from(["a", "B", ""])).map(tuple),
        without_labels=st.lists(st.sampled_from(["a", "B", "c"])).map(tuple),
        authors=st.lists(st.sampled_from(["octocat", "ann"])).map(tuple),
        bases=st.lists(st.text(max_size=6)).map(tuple),
        drafts=st.booleans(),
        bots=st.booleans(),
    ),
    st.builds(
        change,
        labels=st.lists(st.sampled_from(["A", "b", "C"])).map(tuple),
        title=st.text(max_size=20),
        base_ref=st.text(max_size=6),
        draft=st.booleans(),
        author_is_bot=st.booleans(),
    ),
)
def test_any_change_by_any_rules_is_allowed_or_gets_one_sentence(rules: Rules, given: Change) -> None:
    assert refusal(rules, given) == refusal(rules, given)
    said = complaint(refusal(rules, given))
    assert said == said.strip()
