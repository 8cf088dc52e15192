"""Only GitHub's signatures are accepted."""

from __future__ import annotations

import base64
import hmac

import pytest

from stager.domain.errors import Refused
from stager.forges.github.webhooks.events import GithubWebhooks
from stager.forges.github.webhooks.signature import verify_credentials

SECRET = b"a secret"
BODY = b'{"zen": "Speak like a human."}'


def sign(algorithm: str, secret: bytes = SECRET, body: bytes = BODY) -> str:
    return f"{algorithm}={hmac.new(secret, body, algorithm).hexdigest()}"


def verify(secret: bytes, headers: dict[str, str], body: bytes, *, sha1: bool = False) -> None:
    """As it is done with a body that comes in pieces."""
    signed = GithubWebhooks(secret.decode(), sha1=sha1).expect(headers)
    for start in range(0, len(body), 7):
        signed.update(body[start : start + 7])
    signed.check()


def refusal(
    headers: dict[str, str], body: bytes = BODY, secret: bytes = SECRET, *, sha1: bool = False
) -> tuple[int, str]:
    with pytest.raises(Refused) as caught:
        verify(secret, headers, body, sha1=sha1)
    return caught.value.status, caught.value.reason


@pytest.mark.requirement("R76")
def test_r76_a_right_signature_passes() -> None:
    verify(SECRET, {"x-hub-signature-256": sign("sha256")}, BODY)


def test_githubs_own_example_passes() -> None:
    """The values of GitHub's documentation, "Validating webhook deliveries"."""
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    verify(b"It's a Secret to Everybody", {"x-hub-signature-256": signature}, b"Hello, World!")


@pytest.mark.requirement("R76")
def test_r76_no_signature_is_refused() -> None:
    assert refusal({}) == (401, "signature-missing")


@pytest.mark.requirement("R76")
@pytest.mark.parametrize(
    "signature",
    [
        sign("sha256", secret=b"another"),
        sign("sha256", body=BODY + b" "),
        sign("sha256").upper(),
        sign("sha256").removeprefix("sha256="),
        sign("sha256")[:-1],
        sign("sha1"),
        "sha256=",
        "",
        "sha256=é",
        "sha256=\udcff",
    ],
)
def test_r76_a_wrong_signature_is_refused(signature: str) -> None:
    assert refusal({"x-hub-signature-256": signature}) == (401, "signature-wrong")


@pytest.mark.requirement("R76")
@pytest.mark.parametrize("position", range(len(BODY)))
def test_r76_a_body_tampered_with_in_any_place_is_refused(position: int) -> None:
    tampered = bytearray(BODY)
    tampered[position] ^= 1
    assert refusal({"x-hub-signature-256": sign("sha256")}, bytes(tampered)) == (401, "signature-wrong")


def test_sha1_alone_is_refused() -> None:
    assert refusal({"x-hub-signature": sign("sha1")}) == (401, "signature-weak")


def test_sha1_alone_counts_where_the_configuration_says_so() -> None:
    verify(SECRET, {"x-hub-signature": sign("sha1")}, BODY, sha1=True)
    for wrong in (sign("sha1", secret=b"another"), sign("sha256"), "sha1=", sign("sha1")[:-1]):
        assert refusal({"x-hub-signature": wrong}, sha1=True) == (401, "signature-wrong")


@pytest.mark.parametrize("text", ["", "sha256=", "sha256=00", sign("sha256").upper(), "sha1=" + "0" * 40])
def test_what_no_body_can_fit_is_refused_by_the_headers(text: str) -> None:
    with pytest.raises(Refused) as caught:
        GithubWebhooks(SECRET.decode()).expect({"x-hub-signature-256": text})
    assert caught.value.reason == "signature-wrong"


def test_missing_credentials_are_refused_by_the_headers_unless_an_app_may_send_it() -> None:
    headers = {"x-hub-signature-256": sign("sha256")}
    with pytest.raises(Refused) as caught:
        GithubWebhooks(SECRET.decode(), "hook", "pass").expect(headers)
    assert caught.value.reason == "credentials-missing"
    of_app = GithubWebhooks("other", "hook", "pass", app_secrets=lambda: [SECRET.decode()]).expect(headers)
    of_app.update(BODY)
    of_app.check()


@pytest.mark.parametrize("stronger", ["", "sha256=00", sign("sha1")])
def test_a_right_sha1_does_not_help_a_wrong_sha256(stronger: str) -> None:
    headers = {"x-hub-signature-256": stronger, "x-hub-signature": sign("sha1")}
    assert refusal(headers, sha1=True) == (401, "signature-wrong")


@pytest.mark.requirement("R76")
def test_r76_without_a_secret_even_a_signature_made_with_none_is_refused() -> None:
    headers = {"x-hub-signature-256": sign("sha256", secret=b"")}
    assert refusal(headers, secret=b"") == (401, "secret-not-configured")


def basic(text: str, scheme: str = "Basic") -> dict[str, str]:
    return {"authorization": f"{scheme} {base64.b64encode(text.encode()).decode()}"}


@pytest.mark.requirement("R69", "R72", "R73")
@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_r69_the_configured_credentials_pass(scheme: str) -> None:
    verify_credentials("hook", "pass:wörd", basic("hook:pass:wörd", scheme))


@pytest.mark.requirement("R69")
@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "credentials-missing"),
        (basic("hook:wrong"), "credentials-wrong"),
        (basic("other:password"), "credentials-wrong"),
        (basic("hook:password", "Bearer"), "credentials-wrong"),
        (basic("hook"), "credentials-wrong"),
        ({"authorization": ""}, "credentials-wrong"),
        ({"authorization": "Basic"}, "credentials-wrong"),
        ({"authorization": "Basic é"}, "credentials-wrong"),
        ({"authorization": "Basic \udcff"}, "credentials-wrong"),
    ],
)
def test_r69_missing_or_wrong_credentials_are_refused(headers: dict[str, str], reason: str) -> None:
    with pytest.raises(Refused) as caught:
        verify_credentials("hook", "password", headers)
    assert (caught.value.status, caught.value.reason) == (401, reason)
    assert "password" not in caught.value.message


@pytest.mark.requirement("R69")
def test_r69_no_credentials_are_demanded_when_none_are_configured() -> None:
    verify_credentials("", "", {})
    verify_credentials("", "", basic("any:thing"))


@pytest.mark.parametrize(("user", "password"), [("hook", ""), ("", "password")])
def test_half_configured_credentials_are_demanded(user: str, password: str) -> None:
    verify_credentials(user, password, basic(f"{user}:{password}"))
    with pytest.raises(Refused):
        verify_credentials(user, password, {})
