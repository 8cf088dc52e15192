"""Stager's own page, and what watches over it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from stager.domain.pull_requests.events import Delivery
from stager.ports.forge import RateLimit
from stager.testing.fakes.clock import START
from tests.unit.web.harness import WebHarness, basic, web


class TestHome:
    @pytest.mark.requirement("R23")
    async def test_says_that_it_runs(self, web: WebHarness) -> None:
        answer = await web.client.get("/")

        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")
        assert "Stager" in answer.text

    async def test_names_no_preview_and_no_secret(self, web: WebHarness) -> None:
        await web.post("/launch", image_name="shop", container_name="top-secret-branch")
        text = (await web.client.get("/")).text

        for word in ("top-secret-branch", "s3cret", "One."):
            assert word not in text

    async def test_runs_no_script_and_is_in_nobodys_frame(self, web: WebHarness) -> None:
        policy = (await web.client.get("/")).headers["content-security-policy"]

        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src" not in policy

    @pytest.mark.parametrize("host", ["stage.test", '"><script>alert(1)</script>', "a b"])
    async def test_a_strange_host_is_inert(self, host: str) -> None:
        async with web(domain="") as fresh:
            answer = await fresh.client.get("/", headers={"host": host})

            assert "<script" not in answer.text

    async def test_shows_the_problems(self, web: WebHarness) -> None:
        web.harness.engine.leave()
        await web.harness.rest()

        assert "The engine doesn&#39;t answer." in (await web.client.get("/")).text


class TestHealth:
    async def test_the_process_answers(self, web: WebHarness) -> None:
        answer = await web.client.get("/healthz")

        assert (answer.status_code, answer.text) == (200, "ok")

    async def test_whether_it_can_work(self, web: WebHarness) -> None:
        assert (await web.client.get("/readyz")).json() == {"ready": True, "problems": {}, "notices": {}}
        web.harness.engine.leave()
        await web.harness.rest()
        answer = await web.client.get("/readyz")

        assert answer.status_code == 503
        assert answer.json() == {
            "ready": False,
            "problems": {"engine": "The engine doesn't answer."},
            "notices": {},
        }

    @pytest.mark.attack(
        "/readyz after a preview failed with an internal error of Stager",
        profile="visitor",
        result="200, with the number of such previews and no name; one preview's code can't make it 503",
    )
    async def test_a_preview_that_fails_by_a_bug_is_counted_and_not_named(self, web: WebHarness) -> None:
        async def fail(reference: str) -> str:
            raise ValueError(f"secret {reference}")

        web.harness.engine.resolve = fail  # type: ignore[method-assign]
        await web.post("/launch", image_name="shop", container_name="hidden", wait="0")
        await web.harness.rest()
        answer = await web.client.get("/readyz")

        assert answer.status_code == 200
        assert answer.json()["notices"]["previews"].startswith("1 preview fails")
        assert "hidden" not in answer.text
        assert "secret" not in answer.text

    async def test_deliveries_that_are_set_aside_are_counted_and_not_named(self, web: WebHarness) -> None:
        delivery = Delivery("secret-id", "github", "pull_request", "{}")
        await web.harness.store.write(lambda tx: tx.add_delivery(delivery, START))
        await web.harness.store.write(lambda tx: tx.set_delivery_aside(delivery, "set aside: why", START))
        answer = await web.client.get("/readyz")

        assert answer.status_code == 200
        assert answer.json()["notices"] == {"deliveries": "1 set aside; `stager doctor` lists them."}

    async def test_a_page_that_isnt_there(self, web: WebHarness) -> None:
        answer = await web.client.get("/nothing")

        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/plain")


class TestMetrics:
    async def test_require_credentials(self, web: WebHarness) -> None:
        await web.post("/launch", image_name="shop", container_name="x")
        through_the_front = {"x-forwarded-for": "127.0.0.1"}
        assert (await web.client.get("/metrics", headers=through_the_front)).status_code == 401
        answer = await web.client.get("/metrics", headers=basic() | through_the_front)

        assert answer.status_code == 200
        assert 'stager_deployments_total{app="shop",outcome="live"} 1.0' in answer.text
        assert 'stager_environments{state="live"} 1.0' in answer.text

    async def test_count_deliveries(self, web: WebHarness) -> None:
        await web.deliver("ping", {}, delivery_id="one")
        await web.deliver("ping", {}, delivery_id="one")
        await web.deliver("ping", {}, secret="wrong")
        text = (await web.client.get("/metrics", headers=basic())).text

        for outcome in ("taken", "repeated", "refused"):
            assert f'stager_deliveries_total{{outcome="{outcome}"}} 1.0' in text

    async def test_counts_the_remaining_requests_of_a_forge(self) -> None:
        async with web(credentials=True) as opened:
            before = (await opened.client.get("/metrics", headers=basic())).text
            assert "stager_forge_requests{" not in before, "no response of the forge has told it yet"
            resets_at = datetime(2026, 3, 1, tzinfo=UTC)
            opened.harness.forge.rate_limit = RateLimit(5000, 4321, resets_at)
            text = (await opened.client.get("/metrics", headers=basic())).text
        assert 'stager_forge_requests{figure="remaining",forge="fake"} 4321.0' in text
