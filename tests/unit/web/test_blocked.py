"""What the firewall kept previews from, for those who may read their logs."""

from __future__ import annotations

from datetime import UTC, datetime

from stager.ports.firewall import Blocked
from tests.unit.web.harness import WebHarness

API = "/api/v1/environments"
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


async def kept_from(web: WebHarness, *addresses: str) -> str:
    """A preview that was kept from these; its id."""
    answer = await web.ask("POST", API, json={"image_name": "shop", "container_name": "x"})
    await web.harness.rest()
    environment = str(answer.json()["id"])
    for address in addresses:
        web.harness.firewall.block(Blocked(environment, address, 5432, "tcp", 7, WHEN))
    return environment


async def test_the_api_lists_it_with_the_entry_that_opens_it(web: WebHarness) -> None:
    environment = await kept_from(web, "10.0.0.5", "fd00::5")
    one = (await web.ask("GET", f"{API}/{environment}")).json()["blocked"]
    assert [each["egress_allow"] for each in one] == ["10.0.0.5:5432", "[fd00::5]:5432"]
    assert (one[0]["count"], one[0]["last"]) == (7, "2026-01-02T03:04:05Z")
    [listed] = (await web.ask("GET", API)).json()
    assert listed["blocked"] == one


async def test_the_page_shows_it_and_nothing_where_there_is_none(web: WebHarness) -> None:
    environment = await kept_from(web)
    assert "Blocked connections" not in (await web.ask("GET", f"/previews/{environment}")).text
    web.harness.firewall.block(Blocked(environment, "10.0.0.5", 5432, "tcp", 7, WHEN))
    page = (await web.ask("GET", f"/previews/{environment}")).text
    assert "Blocked connections" in page
    assert "<code>&#34;10.0.0.5:5432&#34;</code>" in page or '<code>"10.0.0.5:5432"</code>' in page
    web.harness.firewall.block(Blocked(environment, "10.0.0.6", 0, "icmp", 1, WHEN))
    assert "10.0.0.6/icmp" in (await web.ask("GET", f"/previews/{environment}")).text


async def test_viewers_dont_see_addresses(web: WebHarness) -> None:
    environment = await kept_from(web, "10.0.0.5")
    token = (await web.ask("POST", "/api/v1/tokens", json={"label": "CI", "role": "viewer"})).json()["token"]
    viewer = {"headers": {"Authorization": f"Bearer {token}"}}
    for path in (API, f"{API}/{environment}", f"/previews/{environment}"):
        answer = await web.client.get(path, **viewer)  # type: ignore[arg-type]
        assert answer.status_code == 200
        assert "10.0.0.5" not in answer.text


async def test_a_firewall_that_is_away_costs_no_page(web: WebHarness) -> None:
    environment = await kept_from(web, "10.0.0.5")
    web.harness.firewall.leave()
    for path in (API, f"{API}/{environment}", f"/previews/{environment}"):
        answer = await web.ask("GET", path)
        assert answer.status_code == 200
        assert "10.0.0.5" not in answer.text
