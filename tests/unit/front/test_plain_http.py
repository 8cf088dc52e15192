"""What the HTTP listener answers itself where there is HTTPS."""

from __future__ import annotations

from pathlib import Path

import pytest

from stager.front.http.head import RequestHead
from stager.front.http.limits import Limits
from stager.front.http.request_parser import read_request
from stager.front.proxy.plain_http import PlainHttp

HOST = "shop.demo.example.org"


def head(target: str = "/", host: str = HOST, method: str = "GET") -> RequestHead:
    read = read_request(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), Limits())
    assert read is not None
    return read[0]


def secured(_: str) -> bool:
    return True


class TestRedirect:
    def test_the_path_and_the_query_stay(self) -> None:
        answer = PlainHttp(None, 443, secured).answer(head("/a/b?c=%20"), secure=False)
        assert answer is not None
        assert (answer.status, answer.headers) == (308, {"Location": f"https://{HOST}/a/b?c=%20"})

    def test_another_port_is_named(self) -> None:
        answer = PlainHttp(None, 8443, secured).answer(head(host=f"{HOST}:8080"), secure=False)
        assert answer is not None
        assert answer.headers == {"Location": f"https://{HOST}:8443/"}

    @pytest.mark.parametrize(
        "host", ["127.0.0.1:8000", "[::1]:8000", "localhost:8000", "shop.localhost", "stager"]
    )
    def test_local_names_stay_on_http(self, host: str) -> None:
        assert PlainHttp(None, 443, secured).answer(head(host=host), secure=False) is None

    def test_a_visitor_of_a_proxy_with_https_stays(self) -> None:
        assert PlainHttp(None, 443, secured).answer(head(), secure=True) is None

    def test_a_host_without_a_certificate_stays(self) -> None:
        assert PlainHttp(None, 443, lambda host: host != HOST).answer(head(), secure=False) is None

    def test_it_can_be_off(self) -> None:
        assert PlainHttp(None, 0, secured).answer(head(), secure=False) is None

    @pytest.mark.parametrize("target", ["//evil.example/x", "/\\evil.example", "/%0d%0aX:%201"])
    def test_it_leads_to_no_other_host(self, target: str) -> None:
        answer = PlainHttp(None, 443, secured).answer(head(target), secure=False)
        assert answer is not None
        assert answer.headers == {"Location": f"https://{HOST}{target}"}


class TestChallenges:
    def test_the_answer_of_a_token(self, tmp_path: Path) -> None:
        (tmp_path / "tok-en_1").write_text("tok-en_1.digest")
        answer = PlainHttp(tmp_path, 443, secured).answer(
            head("/.well-known/acme-challenge/tok-en_1", host="any.example.com"), secure=False
        )
        assert answer is not None
        assert (answer.status, answer.text) == (200, "tok-en_1.digest")

    @pytest.mark.parametrize(
        "target",
        [
            "/.well-known/acme-challenge/unknown",
            "/.well-known/acme-challenge/../secret",
            "/.well-known/acme-challenge/%2e%2e%2fsecret",
            "/.well-known/acme-challenge/..",
            "/.well-known/acme-challenge/",
            "/.well-known/acme-challenge/" + "a" * 300,
        ],
    )
    def test_others_are_unknown(self, tmp_path: Path, target: str) -> None:
        (tmp_path / "secret").write_text("secret")
        folder = tmp_path / "challenges"
        folder.mkdir()
        answer = PlainHttp(folder, 0, secured).answer(head(target), secure=False)
        assert answer is not None
        assert answer.status == 404

    def test_without_acme_they_are_requests_like_others(self) -> None:
        target = "/.well-known/acme-challenge/token"
        assert PlainHttp(None, 0, secured).answer(head(target), secure=False) is None
