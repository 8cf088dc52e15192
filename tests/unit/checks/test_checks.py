"""Each check, before things that are right and things that aren't."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from stager.checks.certificate import CertificateCheck
from stager.checks.deliveries import DeliveryCheck
from stager.checks.dns import DnsCheck, finding_for, own_addresses
from stager.checks.machine import DiskCheck, PortCheck
from stager.control import diagnostics
from stager.domain.errors import Retry
from stager.domain.pull_requests.events import NO_APPLICATION, Delivery
from stager.engines.docker.diagnostics import BuildCheck, DockerCheck, number_of
from stager.forges.github.account import GithubServer
from stager.forges.github.diagnostics import GithubCheck
from stager.ports.diagnostics import Check, Finding, Verdict
from stager.ports.store import RefusedDeliveries
from stager.routers.haproxy.commands import Haproxy
from stager.routers.haproxy.diagnostics import HaproxyCheck
from stager.routers.nginx.commands import Nginx
from stager.routers.nginx.diagnostics import NginxCheck
from stager.testing import MemoryStore
from stager.testing.fakes.clock import START
from tests.unit.cli.client.stranger import Answer, Stranger, stranger

FINE, WARNING, WRONG = Verdict


async def verdicts(check: Check) -> list[Verdict]:
    return [finding.verdict for finding in await diagnostics.examine([check])]


async def test_deliveries_that_are_set_aside() -> None:
    store, delivery = MemoryStore(), Delivery("d1", "github", "pull_request", "{}")
    assert await verdicts(DeliveryCheck(store)) == [FINE]
    await store.write(lambda tx: tx.add_delivery(delivery, START))
    await store.write(lambda tx: tx.set_delivery_aside(delivery, "set aside: it hangs", START))

    _, found = await DeliveryCheck(store).run()
    assert found.verdict is WARNING
    assert found.message.startswith("github's delivery d1 (pull_request) was set aside: it hangs, at 20")
    assert "Redeliver" in found.hint


async def test_deliveries_without_effect() -> None:
    store, sent = MemoryStore(), [Delivery(f"d{n}", "github", "pull_request", "{}") for n in range(3)]
    outcomes = ("launched", f"{NO_APPLICATION}acme/a", f"{NO_APPLICATION}acme/a")
    for delivery, outcome in zip(sent, outcomes, strict=True):
        await store.write(lambda tx, d=delivery: tx.add_delivery(d, START))  # type: ignore[misc]
        await store.write(
            lambda tx, d=delivery, o=outcome: tx.finish_delivery(d, o, START, "acme/a#7")  # type: ignore[misc]
        )

    last, ignored = await DeliveryCheck(store).run()
    assert (last.verdict, ignored.verdict) == (FINE, WARNING)
    assert "(pull_request of acme/a#7) arrived at" in last.message
    assert ignored.message == "A delivery was ignored: no application is for acme/a."
    assert "repo: acme/a" in ignored.hint


async def test_refused_deliveries_until_one_is_accepted() -> None:
    store = MemoryStore()
    refused = RefusedDeliveries("github", "signature-wrong", 3, START, "The signature is wrong.", "Set it.")
    await store.write(lambda tx: tx.count_refused(refused))
    assert await verdicts(DeliveryCheck(store)) == [FINE, WARNING]
    _, found = await DeliveryCheck(store).run()
    assert found.message.startswith("3 deliveries were refused (signature-wrong), last at 20")
    assert found.hint == "Set it."

    later = START + timedelta(minutes=1)
    await store.write(lambda tx: tx.add_delivery(Delivery("d", "github", "ping", "{}"), later))
    assert await verdicts(DeliveryCheck(store)) == [FINE]


class TestExamine:
    async def test_keeps_the_order_and_makes_findings_of_what_goes_wrong(self) -> None:
        away = Retry("Away.", hint="Wait.", reason="x")
        checks = [Says("slow", 0.05), Says("away", error=away), Says("bug", error=ValueError("odd"))]
        found = await diagnostics.examine(checks)
        assert [(f.subject, f.verdict) for f in found] == [("slow", FINE), ("away", WRONG), ("bug", WARNING)]
        assert (found[1].message, found[1].hint) == ("Away.", "Wait.")

    async def test_has_a_time_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(diagnostics, "TIMEOUT", 0.01)
        assert await verdicts(Says("hangs", 60)) == [WRONG]


class Says:
    """A check that takes its time, or fails."""

    def __init__(self, subject: str, seconds: float = 0, error: Exception | None = None) -> None:
        self.subject = subject
        self._seconds, self._error = seconds, error

    async def run(self) -> Sequence[Finding]:
        await asyncio.sleep(self._seconds)
        if self._error:
            raise self._error
        return [Finding(self.subject, FINE, "It is.")]


class TestMachine:
    async def test_the_disk(self, tmp_path: Path) -> None:
        [finding] = await DiskCheck(tmp_path / "not" / "yet").run()
        assert "GB are free" in finding.message

    async def test_a_port_that_is_to_be_had(self) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            port = other.getsockname()[1]
            other.listen()
            assert await verdicts(PortCheck("127.0.0.1", port, is_ours=False)) == [WRONG]
            assert await verdicts(PortCheck("127.0.0.1", port, is_ours=True)) == [FINE]
        assert await verdicts(PortCheck("127.0.0.1", port, is_ours=False)) == [FINE]
        assert await verdicts(PortCheck("127.0.0.1", port, is_ours=True)) == [WRONG]
        assert await verdicts(PortCheck("127.0.0.1", 0, is_ours=False)) == [FINE]

    async def test_names(self) -> None:
        assert await verdicts(DnsCheck(lambda: "localhost")) == [FINE]
        assert await verdicts(DnsCheck(lambda: "")) == [WARNING]
        assert await verdicts(DnsCheck(lambda: "stager.invalid")) == [WRONG]
        assert "127.0.0.1" in await own_addresses()


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[[int], Path]:
    """Makes certificates that are good for so many days."""

    def make(days: int) -> Path:
        path = tmp_path / "certificate.pem"
        command = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=x",
            "-days",
            str(days),
        ]
        made = [*command, "-keyout", str(tmp_path / "key.pem"), "-out", str(path)]
        subprocess.run(made, check=True, capture_output=True)
        return path

    return make


async def test_certificates(certificate: Callable[[int], Path], tmp_path: Path) -> None:
    assert await verdicts(CertificateCheck(certificate(90))) == [FINE]
    assert await verdicts(CertificateCheck(certificate(3))) == [WARNING]
    assert await verdicts(CertificateCheck(tmp_path / "nothing.pem")) == [WRONG]
    (tmp_path / "nonsense.pem").write_text("nonsense")
    assert await verdicts(CertificateCheck(tmp_path / "nonsense.pem")) == [WRONG]


class TestDocker:
    async def test_that_isnt_there(self, tmp_path: Path) -> None:
        [finding] = await diagnostics.examine([DockerCheck(f"unix://{tmp_path}/docker.sock")])
        assert (finding.verdict, finding.message) == (WRONG, "Docker doesn't answer.")

    @pytest.mark.docker
    async def test_that_is_there(self) -> None:
        assert await verdicts(DockerCheck("unix:///var/run/docker.sock")) == [FINE]
        assert await verdicts(BuildCheck("unix:///var/run/docker.sock", "")) == [FINE, WARNING]

    def test_versions(self) -> None:
        assert [number_of(version) for version in ("20.10.24+dfsg1", "29.1.0", "dev")] == [20, 29, 0]


async def test_nginx(tmp_path: Path) -> None:
    assert await verdicts(NginxCheck(Nginx(tmp_path, ["true"], []))) == [FINE]
    assert await verdicts(NginxCheck(Nginx(tmp_path, ["false"], []))) == [WRONG]
    assert await verdicts(NginxCheck(Nginx(tmp_path, ["no-such-program"], []))) == [WRONG]


async def test_haproxy(tmp_path: Path) -> None:
    file = tmp_path / "haproxy.cfg"
    assert await verdicts(HaproxyCheck(Haproxy(["true"], []), file)) == [WARNING]
    file.touch()
    assert await verdicts(HaproxyCheck(Haproxy(["true"], []), file)) == [FINE]
    assert await verdicts(HaproxyCheck(Haproxy(["false"], []), file)) == [WRONG]
    assert await verdicts(HaproxyCheck(Haproxy(["no-such-program"], []), file)) == [WRONG]


class TestGithub:
    """What it says is GitHub's own: https://docs.github.com/en/rest, "Rate limit" and "Users"."""

    @pytest.fixture
    def there(self) -> Iterator[Stranger]:
        with stranger() as github:
            github.answers["GET /rate_limit"] = Answer(200, "{}", "application/json")
            yield github

    def check(self, there: Stranger, user: str = "bot") -> GithubCheck:
        return GithubCheck(GithubServer(there.url), user, "token" if user else "", lambda: None)

    @pytest.mark.parametrize(
        ("status", "scopes", "verdict"),
        [
            (200, "repo, user", FINE),
            (200, "public_repo", FINE),
            (200, "", FINE),
            (200, "user", WRONG),
            (401, "", WRONG),
            (500, "", WARNING),
        ],
    )
    async def test_a_token(self, there: Stranger, status: int, scopes: str, verdict: Verdict) -> None:
        headers = {"X-OAuth-Scopes": scopes} if scopes else {}
        there.answers["GET /user"] = Answer(status, json.dumps({"login": "bot"}), "application/json", headers)
        found = await diagnostics.examine([self.check(there)])
        assert [(f.subject, f.verdict) for f in found] == [
            ("GitHub", FINE),
            ("clock", FINE),
            ("GitHub", verdict),
        ]

    async def test_no_credentials(self, there: Stranger) -> None:
        assert (await verdicts(self.check(there, "")))[-1] is WARNING

    async def test_a_clock_that_is_wrong(self, there: Stranger) -> None:
        later = format_datetime(datetime.now(UTC) + timedelta(minutes=2), usegmt=True)
        there.answers["GET /rate_limit"] = Answer(200, "{}", "application/json", {"Date": later})
        found = await diagnostics.examine([self.check(there, "")])
        assert found[1].verdict is WRONG
        assert "s behind" in found[1].message

    async def test_no_answer(self) -> None:
        nowhere = GithubCheck(GithubServer("http://127.0.0.1:1"), "", "", lambda: None)
        assert await verdicts(nowhere) == [WRONG]


async def test_a_name_that_leads_elsewhere_is_only_warned_of() -> None:
    """There may be a router or a load balancer before this machine."""
    here = await finding_for("demo.example.org", {"127.0.0.1"})
    elsewhere = await finding_for("demo.example.org", {"203.0.113.9"})
    assert (here.verdict, elsewhere.verdict) == (FINE, WARNING)
    assert "203.0.113.9" in elsewhere.message
