"""The access gate: who is admitted to a private preview, the redirects of others, and what apps receive."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from stager.domain.identity.access_policy import (
    ACCESS_PATH,
    WAYS,
    AccessPolicy,
    AccessToken,
    Guard,
    TokenKind,
    Way,
    digest_of,
    sign_token,
)
from stager.front.http.head import RequestHead
from stager.front.http.request_parser import parse_request
from stager.front.proxy.access_gate import AccessGate
from stager.front.proxy.local_responses import PlainResponse
from stager.front.proxy.preview_hosts import LONGEST_TOUR, next_host

KEY = b"k" * 32
NOW = 1_000_000
HOST = "a.stage.test"
TOKEN = "a-token-that-nobody-guesses"
PAGE = "https://stage.test/preview-access"
GUARD = Guard(frozenset(WAYS), "e", PAGE, 600, digest_of(TOKEN), frozenset({"l1"}))
GATE = AccessGate(KEY, lambda: float(NOW))
BROWSER = "Accept: text/html,*/*"


def token(kind: TokenKind = "access", way: Way = "password", **changes: object) -> str:
    subject = "l1" if way == "link" else ""
    made = AccessToken(HOST, way, NOW + 60, "e", subject)
    return sign_token(replace(made, **changes), kind, KEY)  # type: ignore[arg-type]


def request(target: str = "/", *lines: str, method: str = "GET", host: str = HOST) -> RequestHead:
    return parse_request(
        "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *lines]).encode("latin-1")
    )


def met(head: RequestHead, guard: Guard | None = GUARD, *, secure: bool = False) -> PlainResponse | None:
    return GATE.check(head, AccessPolicy(guard), secure=secure)


def cookie(value: str, name: str = "stager-access") -> str:
    return f"Cookie: {name}={value}"


def is_turned_away(notice: PlainResponse | None) -> bool:
    return notice is not None and notice.status in {302, 401}


class TestStrangers:
    def test_in_a_browser_are_sent_to_where_they_can_ask(self) -> None:
        for method in ("GET", "HEAD"):
            notice = met(request("/a?b=c&d=%2F", BROWSER, method=method))
            assert notice is not None
            assert notice.status == 302
            place = urlsplit(notice.headers["Location"])
            assert f"{place.scheme}://{place.netloc}{place.path}" == PAGE
            assert parse_qs(place.query) == {"host": [HOST], "to": ["/a?b=c&d=%2F"]}

    @pytest.mark.parametrize(
        ("method", "lines"),
        [
            ("GET", []),
            ("GET", ["Accept: application/json"]),
            ("POST", [BROWSER]),
            ("DELETE", [BROWSER]),
            ("OPTIONS", [BROWSER]),
            ("GET", [BROWSER, "Connection: Upgrade", "Upgrade: websocket"]),
        ],
    )
    def test_else_get_a_sentence(self, method: str, lines: list[str]) -> None:
        notice = met(request("/a", *lines, method=method))
        assert notice is not None
        assert notice.status == 401
        assert "private" in notice.text
        assert not notice.headers["WWW-Authenticate"].lower().startswith("basic")

    def test_are_shown_only_the_ways_to_sign_in_that_are_open(self) -> None:
        notice = met(request(), replace(GUARD, ways=frozenset({"link"})))
        assert notice is not None
        assert "share link" in notice.text
        assert "password" not in notice.text
        assert "Bypass" not in notice.text

    @pytest.mark.parametrize("target", ["//evil.test/", "/\\evil.test", "//evil.test/?stager_share=x"])
    def test_arent_sent_back_to_somewhere_else(self, target: str) -> None:
        notice = met(request(target, BROWSER))
        assert notice is not None
        assert parse_qs(urlsplit(notice.headers["Location"]).query)["to"] == ["/"]


class TestPasses:
    @pytest.mark.parametrize("way", WAYS)
    def test_give_access(self, way: Way) -> None:
        for method in ("GET", "POST"):
            assert met(request("/", cookie(token(way=way)), method=method)) is None

    @pytest.mark.parametrize(
        "wrong",
        [
            token("grant"),
            token("link", "link"),
            token(expires=NOW),
            token(host="b.stage.test"),
            token(epoch="f"),
            token(way="link", subject="l2"),
            sign_token(AccessToken(HOST, "password", NOW + 60, "e"), "access", b"o" * 32),
            token()[:-4],
            "x" * 100_000,
            "",
            "1.access.9999999999.password.e..",
        ],
    )
    def test_that_are_no_good_dont(self, wrong: str) -> None:
        assert is_turned_away(met(request("/", cookie(wrong))))

    def test_are_found_among_others(self) -> None:
        lines = [cookie("tossed"), "Cookie: a=1; stager-access=x; stager-access=" + token()]
        assert met(request("/", *lines)) is None
        assert is_turned_away(met(request("/", "; ".join([cookie("x"), *["stager-access=x"] * 20]))))

    def test_count_only_under_the_name_of_the_scheme(self) -> None:
        """Over https, another host can't have set the cookie of the other name."""
        assert met(request("/", cookie(token(), "__Host-stager-access")), secure=True) is None
        assert is_turned_away(met(request("/", cookie(token())), secure=True))
        assert is_turned_away(met(request("/", cookie(token(), "__Host-stager-access"))))

    def test_never_reach_the_app(self) -> None:
        head = request(
            "/", "Cookie: a=1; stager-access=" + token() + "; b=2", cookie("x"), "X-Other: stager-access"
        )
        assert met(head) is None
        assert head.lines == [b"Cookie: a=1; b=2", b"X-Other: stager-access"]
        head = request("/", "Cookie: a=1; __Host-stager-access=x")
        assert met(head, None) is None
        assert head.lines == [b"Cookie: a=1"], "not even of a public preview"


class TestGrants:
    def arrive(self, grant: str, to: str = "/a?b", *, secure: bool = False) -> PlainResponse:
        head = request(f"{ACCESS_PATH}?grant={grant}&to={quote(to, safe='')}", BROWSER)
        notice = met(head, secure=secure)
        assert notice is not None
        return notice

    def test_are_changed_for_a_pass(self) -> None:
        notice = self.arrive(token("grant"))
        assert (notice.status, notice.headers["Location"]) == (303, "/a?b")
        name, _, value = notice.headers["Set-Cookie"].partition(";")[0].partition("=")
        assert name == "stager-access"
        assert "Max-Age=600" in notice.headers["Set-Cookie"]
        assert met(request("/", cookie(value))) is None

    def test_give_a_safer_pass_over_https(self) -> None:
        given = self.arrive(token("grant"), secure=True).headers["Set-Cookie"]
        assert given.startswith("__Host-stager-access=")
        assert given.endswith("; Secure")

    @pytest.mark.parametrize(
        "wrong",
        [
            token(),
            token("grant", expires=NOW),
            token("grant", host="b.stage.test"),
            token("grant", epoch="f"),
            "",
        ],
    )
    def test_that_are_no_good_give_none(self, wrong: str) -> None:
        notice = self.arrive(wrong)
        assert notice.status == 302
        assert notice.headers["Location"].startswith(PAGE)
        assert "Set-Cookie" not in notice.headers

    @pytest.mark.parametrize(
        "to", ["//evil.test", "https://evil.test", "/\\evil.test", "/a\r\nX: y", "", "\n"]
    )
    def test_lead_nowhere_else(self, to: str) -> None:
        assert self.arrive(token("grant"), to).headers["Location"] == "/"

    def test_need_no_more_than_a_bare_path_to_be_refused(self) -> None:
        for target in (ACCESS_PATH, f"{ACCESS_PATH}?", f"{ACCESS_PATH}?{'&'.join('abcd' * 9)}"):
            notice = met(request(target))
            assert notice is not None
            assert notice.status == 302

    def test_of_a_public_preview_are_its_apps_own_business(self) -> None:
        assert met(request(f"{ACCESS_PATH}?grant=x"), None) is None


class TestLinks:
    def test_are_changed_for_a_pass_and_leave_the_url(self) -> None:
        notice = met(request("/a?b=1&stager_share=" + token("link", "link") + "&c=2", BROWSER))
        assert notice is not None
        assert (notice.status, notice.headers["Location"]) == (303, "/a?b=1&c=2")
        value = notice.headers["Set-Cookie"].partition(";")[0].partition("=")[2]
        assert "Max-Age=60;" in notice.headers["Set-Cookie"], "as long as the link"
        assert met(request("/", cookie(value))) is None
        withdrawn = replace(GUARD, links=frozenset())
        assert is_turned_away(met(request("/", cookie(value)), withdrawn))

    @pytest.mark.parametrize(
        "wrong",
        [
            token("link", "link", expires=NOW),
            token("link", "link", host="b.stage.test"),
            token("link", "link", subject="l2"),
            token("access", "link"),
            "x",
            "",
        ],
    )
    def test_that_are_invalid_give_no_access(self, wrong: str) -> None:
        notice = met(request(f"/a?stager_share={wrong}", BROWSER))
        assert notice is not None
        assert notice.status == 302
        assert parse_qs(urlsplit(notice.headers["Location"]).query)["to"] == ["/a"]

    def test_that_are_invalid_keep_an_existing_access(self) -> None:
        notice = met(request("/a?stager_share=x", cookie(token())))
        assert notice is not None
        assert (notice.status, notice.headers) == (303, {"Location": "/a"})

    def test_are_no_way_to_post(self) -> None:
        link = token("link", "link")
        assert is_turned_away(met(request(f"/a?stager_share={link}", method="POST")))

    @pytest.mark.parametrize("target", ["//evil.test/?{}", "//evil.test?{}&a=b", "/\\evil.test?{}"])
    def test_lead_nowhere_else(self, target: str) -> None:
        notice = met(request(target.format("stager_share=" + token("link", "link"))))
        assert notice is not None
        assert (notice.status, notice.headers["Location"]) == (303, "/")

    def test_never_reach_the_app(self) -> None:
        for guard, lines in ((GUARD, [cookie(token())]), (None, [])):
            head = request("/a?stager_share=x&b=1&stager_bypass=y&stager_other=z", *lines, method="POST")
            assert met(head, guard) is None
            assert head.target == b"/a?b=1&stager_other=z"


class TestBypass:
    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
    def test_allows_any_method(self, method: str) -> None:
        head = request("/a", f"X-Stager-Bypass: {TOKEN}", "A: b", method=method)
        assert met(head) is None
        assert head.lines == [b"A: b"]

    def test_allows_websockets(self) -> None:
        lines = ["Connection: Upgrade", "Upgrade: websocket", f"x-stager-BYPASS: {TOKEN}"]
        assert met(request("/a", *lines)) is None

    @pytest.mark.parametrize("lines", [["x"], [TOKEN + "x"], [TOKEN, TOKEN], ["x", TOKEN], [""], ["é"]])
    def test_takes_nothing_else(self, lines: list[str]) -> None:
        assert is_turned_away(met(request("/a", *(f"X-Stager-Bypass: {value}" for value in lines))))

    def test_in_a_url_is_changed_for_a_pass(self) -> None:
        notice = met(request(f"/a?stager_bypass={TOKEN}"))
        assert notice is not None
        assert (notice.status, notice.headers["Location"]) == (303, "/a")
        value = notice.headers["Set-Cookie"].partition(";")[0].partition("=")[2]
        assert met(request("/", cookie(value), method="POST")) is None
        assert is_turned_away(met(request("/", cookie(value)), replace(GUARD, epoch="f")))
        assert is_turned_away(met(request("/a?stager_bypass=wrong")))

    def test_never_reaches_a_public_app_either(self) -> None:
        head = request("/a", f"X-Stager-Bypass: {TOKEN}")
        assert head.lines == []


SIBLING, OTHER = "admin--a.stage.test", "mail--a.stage.test"
HOSTS = (HOST, SIBLING, OTHER)
SEVERAL = replace(GUARD, hosts=HOSTS, domain="stage.test")


def tour(start: RequestHead, guard: Guard = SEVERAL, *, secure: bool = False) -> list[tuple[str, str]]:
    """The hosts that a browser visits until it is served, each with the cookie's value that it gets there,
    and the URL where it ends."""
    seen: list[tuple[str, str]] = []
    head = start
    for _ in range(25):
        notice = met(head, guard, secure=secure)
        assert notice is not None
        assert notice.status == 303, notice
        seen.append((head.host, notice.headers["Set-Cookie"].partition(";")[0].partition("=")[2]))
        place = urlsplit(notice.headers["Location"])
        if place.path != ACCESS_PATH:
            return [*seen, (notice.headers["Location"], "")]
        head = request(f"{place.path}?{place.query}", BROWSER, host=place.netloc)
    raise AssertionError("sent in circles")


def is_admitted_at(host: str, value: str, guard: Guard = SEVERAL) -> bool:
    return met(request("/", cookie(value), host=host, method="POST"), guard) is None


class TestSeveralHosts:
    @pytest.mark.parametrize(
        ("target", "end"),
        [
            (f"/a?b=1&stager_share={token('link', 'link')}", "/a?b=1"),
            (f"/a?b=1&stager_bypass={TOKEN}", "/a?b=1"),
            (f"{ACCESS_PATH}?grant={token('grant')}&to=%2Fa%3Fb%3D1", "/a?b=1"),
        ],
        ids=["link", "bypass", "grant"],
    )
    def test_one_visit_opens_all_and_ends_where_it_began(self, target: str, end: str) -> None:
        *seen, (place, _) = tour(request(target, BROWSER))
        assert [host for host, _ in seen] == list(HOSTS)
        assert place == f"http://{HOST}{end}"
        assert all(is_admitted_at(host, value) for host, value in seen)

    def test_a_visit_may_begin_at_any_of_them(self) -> None:
        link = token("link", "link", host=OTHER)
        *seen, (place, _) = tour(request(f"/?stager_share={link}", BROWSER, host=f"{OTHER}:8000"))
        assert [host for host, _ in seen] == [OTHER, HOST, SIBLING]
        assert place == f"http://{OTHER}:8000/"

    def test_over_https_it_stays_there(self) -> None:
        grant = token("grant")
        *_, (place, _) = tour(request(f"{ACCESS_PATH}?grant={grant}&to=/", BROWSER), secure=True)
        assert place == f"https://{HOST}/"

    def test_a_cookie_of_one_opens_no_other(self) -> None:
        *seen, _ = tour(request(f"/?stager_share={token('link', 'link')}", BROWSER))
        for host, value in seen:
            assert [other for other in (*HOSTS, "b.stage.test") if is_admitted_at(other, value)] == [host]

    def test_that_of_a_link_expires_with_it_everywhere(self) -> None:
        head = request(f"/?stager_share={token('link', 'link')}", BROWSER)
        for _ in HOSTS:
            notice = met(head, SEVERAL)
            assert notice is not None
            assert "Max-Age=60;" in notice.headers["Set-Cookie"]
            place = urlsplit(notice.headers["Location"])
            head = request(f"{place.path}?{place.query}", BROWSER, host=place.netloc)

    def test_a_withdrawn_link_opens_none(self) -> None:
        notice = met(
            request(f"/?stager_share={token('link', 'link')}", BROWSER),
            replace(SEVERAL, links=frozenset()),
        )
        assert notice is not None
        assert notice.status == 302
        assert "Set-Cookie" not in notice.headers

    def test_a_program_isnt_sent_through_them(self) -> None:
        notice = met(request(f"/a?stager_bypass={TOKEN}"), SEVERAL)
        assert notice is not None
        assert notice.headers["Location"] == "/a"

    @pytest.mark.parametrize("begin", ["evil.test", "b.stage.test", "", "a.stage.test@evil.test"])
    def test_nobody_is_sent_to_another_preview_or_site(self, begin: str) -> None:
        grant = token("grant", host=SIBLING)
        head = request(f"{ACCESS_PATH}?grant={grant}&to=/a&begin={quote(begin)}", BROWSER, host=SIBLING)
        *seen, (place, _) = tour(head)
        assert {host for host, _ in seen} == set(HOSTS)
        assert place == f"http://{SIBLING}/a"

    def test_a_tour_ends_also_where_the_hosts_have_changed(self) -> None:
        begin, here = HOST, SIBLING
        assert next_host((HOST, SIBLING), begin, here) == ""
        assert next_host((SIBLING, OTHER), begin, here) == ""
        assert next_host((), HOST, HOST) == ""
        many = tuple(f"{n:02}.stage.test" for n in range(30))
        visited, at = [many[3]], many[3]
        while at := next_host(many, many[3], at):
            visited.append(at)
        assert len(visited) == len(set(visited)) == LONGEST_TOUR


class TestRequestsOfPages:
    """Previews are one site for browsers, which send the cookie with requests of other previews' pages."""

    @pytest.mark.parametrize(
        "lines",
        [
            [f"Origin: http://{SIBLING}"],
            [f"Origin: https://{HOST}:8443"],
            ["Origin: https://sso.example.test"],
            ["Origin: null"],
            ["Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors"],
            ["Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors", f"Referer: http://{SIBLING}/"],
            ["Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: navigate"],
            ["Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: navigate", "Referer: http://b.stage.test/"],
            ["Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors", "Referer: https://example.test/"],
        ],
    )
    def test_of_this_preview_and_of_links_are_accepted(self, lines: list[str]) -> None:
        assert met(request("/", cookie(token()), *lines), SEVERAL) is None

    @pytest.mark.parametrize(
        "lines",
        [
            ["Origin: http://b.stage.test"],
            ["Origin: http://b.stage.test:8000"],
            ["Origin: http://admin--b.stage.test"],
            ["Origin: http://b.shop.stage.test"],
            ["Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors", "Referer: http://b.stage.test/x"],
            ["Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors"],
            ["Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors", "Referer: http://[b"],
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "POST"])
    @pytest.mark.attack(
        "A page of a preview that sends requests to another private preview",
        profile="repository's own code",
        result="the visitor's access cookie isn't accepted: 401",
    )
    def test_of_other_previews_arent(self, lines: list[str], method: str) -> None:
        notice = met(request("/", cookie(token()), *lines, method=method), SEVERAL)
        assert notice is not None
        assert notice.status == 401

    def test_a_websocket_of_another_preview_isnt(self) -> None:
        upgrade = ["Connection: Upgrade", "Upgrade: websocket", cookie(token())]
        assert met(request("/", *upgrade, f"Origin: http://{SIBLING}"), SEVERAL) is None
        assert is_turned_away(met(request("/", *upgrade, "Origin: http://b.stage.test"), SEVERAL))

    def test_a_bypass_token_counts_from_anywhere(self) -> None:
        lines = [f"X-Stager-Bypass: {TOKEN}", "Origin: http://b.stage.test"]
        assert met(request("/", *lines), SEVERAL) is None
