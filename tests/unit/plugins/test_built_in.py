"""The built-in handlers in a whole Stager over fakes; those that tell people, with services that answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from apprise.plugins.slack import NotifySlack

from stager import Preview, Refused, Reply, StagerError
from stager.handlers.calls import StatusReport
from stager.handlers.inspector import RequestInspector
from stager.handlers.notifications import NotifyOnLaunch, PostToSlackOnLaunch
from stager.handlers.rotation import EvergreenExceptionsContainerRotationStrategy
from stager.handlers.variables import RequireVariables
from stager.testing.harness import Harness

WEBHOOK = "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"


class Service:
    """An HTTP server that records what it receives."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, object]]] = []
        self.status = 200
        service = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                service.told.append((self.path, json.loads(body)))
                self.send_response(service.status)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Answer)
        self.port = self.server.server_address[1]


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    thread = threading.Thread(target=service.server.serve_forever, args=(0.01,))
    thread.start()
    yield service
    service.server.shutdown()
    thread.join()
    service.server.server_close()


class TestNotifyOnLaunch:
    def test_notifies_every_service(self, service: Service) -> None:
        urls = [f"json://127.0.0.1:{service.port}/{name}" for name in ("a", "b")]
        with Harness(NotifyOnLaunch, notify={"urls": urls, "message": "{container_name}: {url}"}) as stager:
            preview = stager.launch("x")
            assert stager.notes(preview) == ()
        assert [path for path, _ in service.told] == ["/a", "/b"]
        assert {body["message"] for _, body in service.told} == {f"x: {preview.url}"}

    def test_names_the_service_that_does_not_take_it_but_not_its_url(self, service: Service) -> None:
        service.status = 500
        with Harness(
            NotifyOnLaunch, notify={"urls": [f"json://u:hunter2@127.0.0.1:{service.port}"]}
        ) as stager:
            [note] = stager.notes(stager.launch("x"))
        assert "JSON didn't accept the message" in note
        assert "hunter2" not in note


class TestPostToSlackOnLaunch:
    def test_posts_the_text_of_the_first_stager(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(NotifySlack, "webhook_url", f"http://127.0.0.1:{service.port}/services")
        slack = {"webhook_url": WEBHOOK, "channel": "#staging", "username": "stager"}
        with Harness(PostToSlackOnLaunch, slack=slack) as stager:
            preview = stager.launch("x")
            assert stager.notes(preview) == ()
        [(path, body)] = service.told
        assert path == WEBHOOK.partition(".com")[2]
        assert (body["channel"], body["username"]) == ("#staging", "stager")
        assert f"shop/x is now staged at {preview.url}" in json.dumps(body)


class TestStatusReport:
    def test_lists_what_is_running(self) -> None:
        with Harness(StatusReport) as stager:
            preview = stager.launch("x")
            assert preview.started_at is not None
            reply = stager.call("status", image_name="shop")
            assert isinstance(reply, Reply)
            assert reply.media_type == "application/json"
            assert json.loads(reply.body) == [
                {
                    "image_name": "shop",
                    "container_name": "x",
                    "url": preview.url,
                    "started_at": preview.started_at.isoformat(),
                    "services": [{"name": "web", "state": "healthy", "url": preview.url}],
                }
            ]
            assert stager.call("status", image_name="other") == Reply("[]", "application/json")
            with pytest.raises(Refused, match="Unauthorized"):
                stager.call("status", authenticated=False)


class TestRequestInspector:
    def test_logs_names_but_no_values_and_takes_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO", "stager.handlers.inspector")
        with Harness(RequestInspector) as stager:
            assert stager.call("anything", authenticated=False, token="hunter2") is None
            assert stager.open_pull_request("x") is not None
        assert "call anything with token" in caplog.text
        assert "opened of shop" in caplog.text
        assert "hunter2" not in caplog.text


class TestEvergreen:
    def test_the_oldest_is_removed_but_none_that_is_evergreen(self) -> None:
        with Harness(
            EvergreenExceptionsContainerRotationStrategy, max_previews=2, evergreen_containers=["master"]
        ) as stager:
            for name in ("master", "a", "b"):
                stager.launch(name)
            assert {p.container_name for p in stager.running} == {"master", "b"}

    async def test_none_is_removed_when_all_are(self) -> None:
        strategy = EvergreenExceptionsContainerRotationStrategy(
            EvergreenExceptionsContainerRotationStrategy.Settings(("a",))
        )
        assert await strategy.to_rotate([Preview("1", "shop", "a", "http://a.test")]) is None


class TestRequireVariables:
    def test_refuses_a_launch_without(self) -> None:
        with Harness(RequireVariables, handlers={"RequireVariables": {"names": ["TOKEN"]}}) as stager:
            stager.launch("x", TOKEN="1")
            with pytest.raises(StagerError, match="shop requires the variable TOKEN") as caught:
                stager.launch("y")
            assert caught.value.reason == "variable-missing"
