"""The server that `stager nginx config` prints, by the nginx that is installed."""

import pytest

from stager.routers.nginx import server_for_all
from stager.routers.nginx.commands import Http2, http2_syntax_of

BUILT = "configure arguments: --prefix=/usr/share/nginx --with-http_ssl_module --with-http_v2_module"


@pytest.mark.parametrize(
    ("told", "syntax"),
    [
        (f"nginx version: nginx/1.22.1\n{BUILT}", "listen"),
        (f"nginx version: nginx/1.25.0\n{BUILT}", "listen"),
        (f"nginx version: nginx/1.25.1 (Ubuntu)\n{BUILT}", "directive"),
        (f"nginx version: nginx/1.26.3\n{BUILT}", "directive"),
        (f"nginx version: openresty/nginx/2.0.0\n{BUILT}", "directive"),
        ("nginx version: nginx/1.27.0\nconfigure arguments: --with-http_ssl_module", "none"),
        ("nginx version: nginx/1.9.5", "listen"),
        ("", "listen"),
    ],
)
def test_how_http_2_is_enabled(told: str, syntax: Http2) -> None:
    assert http2_syntax_of(told) == syntax


@pytest.mark.parametrize(
    ("syntax", "lines"),
    [
        ("listen", ["listen 443 default_server ssl http2;"]),
        ("directive", ["listen 443 default_server ssl;", "http2 on;"]),
        ("none", ["listen 443 default_server ssl;"]),
    ],
)
def test_the_lines_of_each(syntax: Http2, lines: list[str]) -> None:
    text = server_for_all(
        front="127.0.0.1:8000",
        names=[],
        listen=["443"],
        certificate="/c.pem",
        key="/k.pem",
        redirect=["80"],
        http2=syntax,
    )
    told = [line.strip() for line in text.splitlines() if "listen" in line or "http2" in line]
    assert told == [*lines, "listen 80 default_server;"]


@pytest.mark.parametrize("syntax", ["listen", "directive"])
def test_none_without_a_certificate(syntax: Http2) -> None:
    assert "http2" not in server_for_all(front="127.0.0.1:8000", names=[], listen=["80"], http2=syntax)
