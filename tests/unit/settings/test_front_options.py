"""Where the front redirects HTTP to."""

from __future__ import annotations

from pathlib import Path

import pytest

from stager.assembly.front import front_options
from stager.state import StateDirectory
from tests.unit.settings.conftest import LoadText

TLS = "tls: {listen: '0.0.0.0:8443', certificate: c.pem, key: k.pem}"


@pytest.mark.parametrize(
    ("text", "port"),
    [
        (f"domain: demo.io\nscheme: https\n{TLS}", 443),
        (f"domain: demo.io:8443\nscheme: https\n{TLS}", 8443),
        # Stager's own URLs, such as those of webhooks, lead to HTTP then.
        (f"domain: demo.io\n{TLS}", 0),
        (f"domain: demo.io:8000\n{TLS}", 0),
        ("domain: demo.io\nscheme: https", 0),
    ],
)
def test_the_port_of_https(load_text: LoadText, text: str, port: int) -> None:
    settings = load_text(text).settings
    assert front_options(settings, StateDirectory(Path("/s"))).https_port == port
