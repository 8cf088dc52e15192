"""Private previews, on real containers: each way to get access, no access without, and nothing of it in what
the application receives."""

from __future__ import annotations

from urllib.parse import parse_qs, quote, urlsplit

import pytest

from tests.integration.conftest import MakeStager
from tests.integration.stager import PASSWORD, USER, StagerUnderTest, basic, until
from tests.integration.visitor import HTML, Visitor

TOKEN = "a-token-that-nobody-guesses"
FORMS = {"GET": None, "POST": {"a": "b"}}
GUARDED = {
    "private": {"methods": ["sign-in", "password", "link"], "password": "open sesame", "bypass_token": TOKEN}
}


@pytest.fixture
def private(make_stager: MakeStager) -> StagerUnderTest:
    """A Stager with a private application, `shop`, and a public one, `blog`."""
    return make_stager(images={"shop": GUARDED, "blog": {"index": True}})


def give_password(visitor: Visitor, url: str, password: str = "open sesame") -> tuple[str, str]:
    """What a person sees who fills in the form that is there in the preview's place, and where."""
    place, page = visitor.browse(url)
    assert "This preview is private" in page.text, page.text
    asked = {name: values[0] for name, values in parse_qs(urlsplit(place).query).items()}
    home = place.partition("?")[0]
    seen, answer = visitor.browse(home, "POST", data={**asked, "password": password})
    return seen, answer.text


def test_a_password_opens_it_and_isnt_passed_to_the_app(private: StagerUnderTest) -> None:
    private.launched("a")
    visitor = Visitor(private)
    url = visitor.url("a", "/echo?x=1&y=%2F")
    assert visitor.ask(url).status_code == 401
    assert "Wrong password." in give_password(visitor, url, "wrong")[1]
    seen, _ = give_password(visitor, url)
    assert seen == url
    for method in ("GET", "POST"):
        got = visitor.echo("a", "/echo?x=1&y=%2F", method, headers={"Cookie": "own=1"}, data=FORMS[method])
        assert (got["method"], got["path"]) == (method, "/echo?x=1&y=%2F")
        assert dict(got["headers"])["Cookie"] == "own=1"
        assert "stager" not in str(got).lower().replace(f"localhost:{private.port}", "")
    assert Visitor(private).ask(url).status_code == 401


def test_a_pass_is_for_its_preview_alone(private: StagerUnderTest) -> None:
    private.launched("a")
    private.launched("b")
    visitor = Visitor(private)
    give_password(visitor, visitor.url("a"))
    pass_of_a = visitor.cookies[private.host("a")]["stager-access"]
    tossed = Visitor(private).ask(visitor.url("b"), headers={"Cookie": f"stager-access={pass_of_a}"})
    assert tossed.status_code == 401


def test_pages_of_a_private_preview_show_strangers_nothing(private: StagerUnderTest) -> None:
    assert private.launch("broken", EXIT="3").status_code == 503
    stranger = Visitor(private)
    for headers in ({}, HTML):
        answer = stranger.ask(stranger.url("broken"), headers=headers)
        assert answer.status_code in {302, 401}
        assert "giving up" not in answer.text
        assert "shop" not in answer.text
    visitor = Visitor(private)
    _, page = give_password(visitor, visitor.url("broken"))
    assert "giving up: the database is missing" in page
    private.kill("broken")
    assert stranger.ask(stranger.url("broken")).status_code == 401
    assert visitor.ask(visitor.url("broken")).status_code == 410


def test_tests_get_round_it_with_any_method_and_by_websocket(private: StagerUnderTest) -> None:
    private.launched("a")
    tests = Visitor(private, **{"X-Stager-Bypass": TOKEN})
    for method in ("GET", "POST"):
        got = tests.echo("a", method=method, data=FORMS[method])
        assert "bypass" not in str(got).lower()
    assert tests.websocket("a", **{"X-Stager-Bypass": TOKEN}) == (101, b"hello")
    assert tests.websocket("a") == (401, b"")
    assert tests.websocket("a", **{"X-Stager-Bypass": TOKEN + "x"}) == (401, b"")
    assert Visitor(private, **{"X-Stager-Bypass": "x"}).ask(tests.url("a")).status_code == 401
    browser = Visitor(private)
    place, page = browser.browse(browser.url("a", f"/echo?stager_bypass={TOKEN}&x=1"))
    assert place == browser.url("a", "/echo?x=1")
    assert TOKEN not in page.text
    cookie = browser.cookies[private.host("a")]["stager-access"]
    assert browser.websocket("a", Cookie=f"stager-access={cookie}") == (101, b"hello")


def test_who_may_sign_in_needs_no_password(private: StagerUnderTest) -> None:
    private.launched("a")
    visitor = Visitor(private)
    place, page = visitor.browse(visitor.url("a", "/echo"))
    assert "Sign in" in page.text
    sign_in = f"{place.partition('?')[0]}/sign-in?host={private.host('a')}&to={quote('/echo')}"
    assert visitor.ask(sign_in).status_code == 401
    admitted = visitor.ask(sign_in, headers={"Authorization": basic(USER, PASSWORD)})
    assert admitted.status_code == 303
    place, page = visitor.browse(admitted.headers["location"])
    assert place == visitor.url("a", "/echo")
    assert "/echo" in page.text


def test_a_share_link_opens_it_until_it_is_withdrawn(private: StagerUnderTest) -> None:
    private.launched("a")
    private.launched("b")
    path = f"/environments/{private.environment('a')['id']}/share-links"
    link, other = [private.api(path, "POST", json={"expires_in": 3600, "note": "for Eve"}) for _ in range(2)]
    assert {each["id"] for each in private.api(path)} == {link["id"], other["id"]}
    eve, zoe = Visitor(private), Visitor(private)
    assert eve.browse(link["url"])[0] == eve.url("a")
    assert zoe.browse(other["url"])[0] == zoe.url("a")
    deep = link["url"].replace("/?", "/echo?x=1&")
    place, page = eve.browse(deep)
    assert place == eve.url("a", "/echo?x=1")
    assert "stager_share" not in page.text
    assert "stager-access" not in page.text
    token = link["url"].partition("stager_share=")[2]
    assert Visitor(private).ask(eve.url("b", f"/?stager_share={token}")).status_code == 401
    private.api(f"{path}/{link['id']}", "DELETE")
    assert eve.ask(eve.url("a")).status_code == 401
    assert "has expired or was" in eve.browse(link["url"])[1].text
    assert zoe.ask(zoe.url("a")).status_code == 200
    private.kill("a")
    private.launched("a")
    assert zoe.ask(zoe.url("a")).status_code == 401
    assert Visitor(private).ask(other["url"]).status_code == 401


def test_it_stays_private_while_the_control_plane_doesnt_run(private: StagerUnderTest) -> None:
    private.launched("a")
    visitor = Visitor(private)
    give_password(visitor, visitor.url("a"))
    private.kill9()
    assert visitor.ask(visitor.url("a")).status_code == 200
    assert Visitor(private).ask(visitor.url("a")).status_code == 401
    private.kill_front()
    private.start()
    assert visitor.ask(visitor.url("a")).status_code == 200
    assert Visitor(private).ask(visitor.url("a")).status_code == 401


def test_what_the_configuration_says_from_now_on_counts_from_now_on(private: StagerUnderTest) -> None:
    private.launched("a")
    private.launched("b", "blog")
    visitor = Visitor(private)
    give_password(visitor, visitor.url("a"))
    assert visitor.ask(visitor.url("b")).status_code == 200
    changed = {"private": {"password": "another"}}
    private.configure(images={"shop": changed, "blog": changed})
    private.restart()
    assert visitor.ask(visitor.url("a")).status_code == 401
    assert visitor.ask(visitor.url("b")).status_code == 401
    private.configure(images={"shop": {}, "blog": {}})
    private.restart()
    assert Visitor(private).ask(visitor.url("a")).status_code == 200


def test_search_engines_list_only_what_they_may(private: StagerUnderTest) -> None:
    private.launched("a")
    private.launched("b", "blog")
    tests = Visitor(private, **{"X-Stager-Bypass": TOKEN})
    assert tests.ask(tests.url("a")).headers["x-robots-tag"] == "noindex"
    assert Visitor(private).ask(tests.url("a")).headers["x-robots-tag"] == "noindex"
    assert "x-robots-tag" not in tests.ask(tests.url("b")).headers


def test_cookies_of_an_app_stay_with_its_host(make_stager: MakeStager) -> None:
    stager = make_stager()
    stager.launched("a", SETS_COOKIE="stager-session=forged; Domain=localhost; Path=/")
    stager.launched("b", SETS_COOKIE="stager-access=forged; Path=/")
    visitor = Visitor(stager)
    assert visitor.ask(visitor.url("a")).headers["set-cookie"] == "stager-session=forged; Path=/"
    assert "set-cookie" not in visitor.ask(visitor.url("b")).headers


def test_guessing_ends_soon(private: StagerUnderTest) -> None:
    private.launched("a")
    home = f"http://localhost:{private.port}/preview-access"
    guesser = Visitor(private)

    def guess(password: str) -> int:
        form = {"host": private.host("a"), "to": "/", "password": password}
        return guesser.ask(home, "POST", data=form).status_code

    assert {guess("wrong") for _ in range(10)} == {403}
    assert guess("wrong") == 429
    assert guess("open sesame") == 429
    until(lambda: guesser.ask(guesser.url("a"), headers=HTML).status_code == 302, "others can still ask")


@pytest.mark.parametrize("to", ["//evil.test", "https://evil.test/", "/\\evil.test", "javascript:alert(1)"])
def test_no_redirect_leads_to_another_host(private: StagerUnderTest, to: str) -> None:
    private.launched("a")
    visitor = Visitor(private)
    home = f"http://localhost:{private.port}/preview-access"
    form = {"host": private.host("a"), "to": to, "password": "open sesame"}
    assert visitor.browse(home, "POST", data=form)[0] == visitor.url("a")


def test_the_sign_in_page_exists_for_private_previews_only(private: StagerUnderTest) -> None:
    private.launched("b", "blog")
    home = f"http://localhost:{private.port}/preview-access"
    visitor = Visitor(private)
    assert visitor.ask(f"{home}?host=nobody.localhost").status_code == 404
    assert visitor.ask(f"{home}?host=evil.test").status_code == 404
    public = visitor.ask(f"{home}?host={private.host('b')}&to=/x")
    assert (public.status_code, public.headers["location"]) == (303, visitor.url("b", "/x"))
    foreign = {"Origin": "https://evil.test"}
    assert visitor.ask(home, "POST", headers=foreign, data={"host": private.host("b")}).status_code == 403
