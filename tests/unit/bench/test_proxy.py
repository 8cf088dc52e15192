"""Waiting for the nginx that the front is measured against."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.rows.proxy import answers
from tests.integration.nginx import BINARY, NginxUnderTest
from tests.integration.stager import until


def test_one_that_doesnt_listen_yet_is_waited_for(tmp_path: Path) -> None:
    if not Path(BINARY).exists():
        pytest.skip("there is no nginx: scripts/test installs it")
    nginx = NginxUnderTest(tmp_path / "nginx")
    assert not answers(nginx, "x.test")
    nginx.start()
    try:
        assert not answers(nginx, "x.test")
        server = f"server {{ listen 127.0.0.1:{nginx.port}; return 200 hello; }}"
        (nginx.sites / "x").write_text(server)
        nginx.reload()
        until(lambda: answers(nginx, "x.test"), "it answers")
    finally:
        nginx.stop()
