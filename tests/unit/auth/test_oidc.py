"""Signing in at an OpenID provider, which may answer anything: no invalid answer gives access."""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from stager import oauth
from stager.auth.oidc import CALLBACK, OpenIDConnectAuthentication, OpenIDSignIn
from stager.control.identity.secrets import new_secret
from stager.domain.errors import Refused, Retry, StagerError
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role
from stager.ports.handlers import Credentials
from stager.ports.login import AuthorizationRequest, Identity
from tests.doubles.openid import CLIENT, SECRET, OpenIDDouble, new_curve_key, new_key
from tests.unit.control.harness import Harness

Settings = OpenIDConnectAuthentication.Settings
FIRST, SECOND, FOREIGN = new_key("first"), new_curve_key("second"), new_key("first")
"""Made once: an RSA key takes its time. The foreign one claims to be the first."""
LATER = int(time.time()) + 30 * 86_400


@dataclass
class Rig:
    """A provider, and our end of it, with a clock that the test turns."""

    provider: OpenIDDouble
    ahead: float = 0.0
    seconds: float = oauth.SECONDS

    def settings(self, **more: Any) -> Settings:
        given = {"issuer": self.provider.url, "client_id": CLIENT, "client_secret": SECRET, **more}
        return Settings.model_validate(given)

    def made(self, **more: Any) -> OpenIDSignIn:
        return OpenIDSignIn(self.settings(**more), lambda: time.time() + self.ahead, self.seconds)

    async def sign_in(self, where: OpenIDSignIn | None = None, **changed: str) -> Identity:
        """Sign in, and follow the redirect back.

        Args:
            changed: what is other than when they were sent there.
        """
        where = where or self.made()
        one = asked()
        code = self.provider.agree(await where.address(one))
        return await where.exchange(code, replace(one, **changed))

    async def refused(self, where: OpenIDSignIn | None = None, **changed: str) -> str:
        with pytest.raises(Refused) as refused:
            await self.sign_in(where, **changed)
        assert (refused.value.reason, refused.value.status) == ("sign-in-failed", 403)
        for secret in (SECRET, "at-secret", "eyJ"):
            assert secret not in str(refused.value)
        return str(refused.value)


@pytest.fixture(name="rig")
async def made_scene() -> AsyncIterator[Rig]:
    async with OpenIDDouble() as provider:
        provider.keys = [FIRST]
        yield Rig(provider)


def asked() -> AuthorizationRequest:
    return AuthorizationRequest(new_secret(), new_secret(), f"http://127.0.0.1:9{CALLBACK}", new_secret())


class TestWhoComesBack:
    async def test_is_called_by_the_usual_claim(self, rig: Rig) -> None:
        assert (await rig.sign_in()).name == "octocat"

    async def test_or_else_by_the_subject(self, rig: Rig) -> None:
        del rig.provider.claims["preferred_username"]
        assert (await rig.sign_in()).name == "0815"

    async def test_is_called_by_the_claim_that_is_set_or_not_at_all(self, rig: Rig) -> None:
        where = rig.made(username_claim="nickname")
        assert "no valid claim `nickname`" in await rig.refused(where)
        rig.provider.claims["nickname"] = "octo"
        assert (await rig.sign_in(where)).name == "octo"

    async def test_is_called_by_a_mail_address_only_if_it_is_theirs(self, rig: Rig) -> None:
        where = rig.made(username_claim="email")
        rig.provider.claims["email"] = "boss@example.org"
        assert "hasn't verified" in await rig.refused(where)
        rig.provider.claims["email_verified"] = "false"
        assert "hasn't verified" in await rig.refused(where)
        rig.provider.claims["email_verified"] = True
        assert (await rig.sign_in(where)).name == "boss@example.org"

    @pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 201, 7, ["a"], {}, " ann", "\u202eann"])
    async def test_isnt_called_just_anything(self, rig: Rig, name: object) -> None:
        rig.provider.claims["nickname"] = name
        await rig.refused(rig.made(username_claim="nickname"))

    async def test_is_completed_from_userinfo_if_the_id_token_lacks_claims(self, rig: Rig) -> None:
        rig.provider.without = {"preferred_username"}
        rig.provider.more = {"sub": "0815", "preferred_username": "octocat"}
        assert (await rig.sign_in()).name == "octocat"

    async def test_isnt_another_user_in_userinfo(self, rig: Rig) -> None:
        rig.provider.without = {"preferred_username"}
        rig.provider.more = {"sub": "0816", "preferred_username": "boss"}
        assert "different subjects" in await rig.refused()

    async def test_our_secret_is_sent_as_the_provider_requires(self, rig: Rig) -> None:
        await rig.sign_in()
        assert "client_secret" not in rig.provider.forms[-1]
        rig.provider.says["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
        await rig.sign_in()
        assert rig.provider.forms[-1]["client_secret"] == SECRET


class TestIdToken:
    @pytest.mark.parametrize(
        ("said", "why"),
        [
            ({"iss": "https://evil.example"}, "iss"),
            ({"aud": "another"}, "aud"),
            ({"aud": [CLIENT, "another"]}, "azp"),
            ({"aud": [CLIENT, "another"], "azp": "another"}, "azp"),
            ({"azp": "another"}, "azp"),
            ({"nonce": "another"}, "nonce"),
            pytest.param({"exp": int(time.time()) - 3600}, "expired", id="exp-past"),
            ({"exp": "tomorrow"}, "exp"),
            ({"exp": float("nan")}, ""),
            pytest.param({"iat": LATER}, "iat", id="iat-later"),
            pytest.param({"nbf": LATER}, "nbf", id="nbf-later"),
            ({"sub": ""}, ""),
            ({"sub": 7}, "sub"),
            ({"at_hash": "another"}, "at_hash"),
        ],
        ids=str,
    )
    async def test_that_says_what_isnt_so(self, rig: Rig, said: dict[str, Any], why: str) -> None:
        rig.provider.claims |= said
        assert why in await rig.refused()

    @pytest.mark.parametrize("claim", ["iss", "sub", "aud", "exp", "iat", "nonce"])
    async def test_that_lacks_a_claim(self, rig: Rig, claim: str) -> None:
        rig.provider.without = {claim}
        await rig.refused()

    async def test_of_a_clock_that_is_a_little_off(self, rig: Rig) -> None:
        now = int(time.time())
        rig.provider.claims |= {"iat": now + 5, "exp": now - 5}
        assert (await rig.sign_in()).name == "octocat"

    async def test_that_isnt_there(self, rig: Rig) -> None:
        rig.provider.signs = lambda _: None
        assert "no ID token" in await rig.refused()

    async def test_for_two_if_it_is_meant_for_us(self, rig: Rig) -> None:
        rig.provider.claims |= {"aud": [CLIENT, "another"], "azp": CLIENT}
        assert (await rig.sign_in()).name == "octocat"

    async def test_of_another_sign_in(self, rig: Rig) -> None:
        assert "nonce" in await rig.refused(nonce=new_secret())

    async def test_that_wasnt_requested(self, rig: Rig) -> None:
        await rig.refused(nonce="")

    @pytest.mark.parametrize(
        "text", ["", "x", "a.b.c", "..", "eyJhbGciOiJSUzI1NiJ9.e30.", "\u00e4.b.c", 7, []]
    )
    async def test_that_isnt_one(self, rig: Rig, text: object) -> None:
        rig.provider.signs = lambda _: text
        await rig.refused()

    async def test_with_a_header_that_isnt_one(self, rig: Rig) -> None:
        for header in (b"[]", b'{"alg": []}', b'{"alg": "RS256", "kid": 7}', b"[" * 5000, b'{"crit": ["x"]}'):
            body = f"{_b64(header)}.{_b64(b'{}')}.{_b64(b'x')}"
            rig.provider.signs = lambda _, body=body: body
            await rig.refused()


def _b64(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


class TestSignature:
    async def test_by_another_key(self, rig: Rig) -> None:
        rig.provider.signs = lambda claims: rig.provider.signed(claims, FOREIGN)
        assert "bad signature" in await rig.refused()

    async def test_of_something_else(self, rig: Rig) -> None:
        def other(claims: dict[str, Any]) -> str:
            head, _, signature = rig.provider.signed(claims).split(".")
            body = rig.provider.signed({**claims, "preferred_username": "boss"}).split(".")[1]
            return f"{head}.{body}.{signature}"

        rig.provider.signs = other
        assert "bad signature" in await rig.refused()

    async def test_that_isnt_there(self, rig: Rig) -> None:
        def unsigned(claims: dict[str, Any]) -> str:
            head = _b64(b'{"alg":"none"}')
            return f"{head}.{rig.provider.signed(claims).split('.')[1]}."

        rig.provider.signs = unsigned
        assert "unsupported algorithm" in await rig.refused()

    async def test_with_the_public_key_as_if_it_were_shared(self, rig: Rig) -> None:
        """Without the library, which refuses to do it. RFC 8725, 2.1."""

        def confused(claims: dict[str, Any]) -> str:
            head = _b64(b'{"alg":"HS256","kid":"first"}')
            signed = f"{head}.{rig.provider.signed(claims).split('.')[1]}"
            return f"{signed}.{_b64(hmac.digest(FIRST.as_pem(private=False), signed.encode(), 'sha256'))}"

        rig.provider.signs = confused
        assert "unsupported algorithm" in await rig.refused()

    async def test_with_a_shared_key_that_is_published(self, rig: Rig) -> None:
        shared = OctKey.generate_key(256, {"kid": "shared"})
        rig.provider.answers["/keys"] = web.json_response({"keys": [shared.as_dict(private=True)]})
        rig.provider.signs = lambda claims: jwt.encode({"alg": "HS256", "kid": "shared"}, claims, shared)
        await rig.refused()

    async def test_with_a_key_out_of_its_own_header(self, rig: Rig) -> None:
        own = new_curve_key("first")
        rig.provider.signs = lambda claims: rig.provider.signed(claims, own, jwk=own.as_dict(private=False))
        rig.provider.keys = [new_curve_key("first")]
        assert "bad signature" in await rig.refused()

    async def test_by_a_key_that_is_for_something_else(self, rig: Rig) -> None:
        published = FIRST.as_dict(private=False) | {"use": "enc"}
        rig.provider.answers["/keys"] = web.json_response({"keys": [published]})
        assert "doesn't publish" in await rig.refused()

    @pytest.mark.filterwarnings("ignore:Key size")
    async def test_by_a_key_that_is_too_short(self, rig: Rig) -> None:
        rig.provider.keys = [RSAKey.generate_key(1024, {"kid": "short"})]
        assert "doesn't publish" in await rig.refused()

    async def test_by_one_of_several_kinds_of_keys(self, rig: Rig) -> None:
        keys = [
            {"kty": "AKP", "kid": "odd"},
            7,
            {"kty": "EC", "crv": "?"},
            SECOND.as_dict(private=False),
            {"kty": "RSA", "kid": "bad", "n": "!" * 400},
        ]
        rig.provider.answers["/keys"] = web.json_response({"keys": keys})
        rig.provider.signs = lambda claims: rig.provider.signed(claims, SECOND)
        assert (await rig.sign_in()).name == "octocat"


class TestKeysThatChange:
    async def test_are_fetched_again_for_a_token_by_a_new_one(self, rig: Rig) -> None:
        where = rig.made()
        await rig.sign_in(where)
        rig.provider.keys = [SECOND]
        rig.ahead = 61
        assert (await rig.sign_in(where)).name == "octocat"
        assert rig.provider.asked["/keys"] == 2

    async def test_but_once_a_minute_at_most(self, rig: Rig) -> None:
        where = rig.made()
        rig.provider.signs = lambda claims: rig.provider.signed(claims, SECOND)
        for _ in range(3):
            assert "doesn't publish" in await rig.refused(where)
        assert rig.provider.asked["/keys"] == 1
        rig.ahead = 61
        for _ in range(3):
            assert "doesn't publish" in await rig.refused(where)
        assert rig.provider.asked["/keys"] == 2

    async def test_one_that_was_withdrawn_is_good_for_an_hour_at_most(self, rig: Rig) -> None:
        where = rig.made()
        rig.provider.signs = lambda claims: rig.provider.signed(claims, FIRST)
        rig.provider.claims |= {"exp": int(time.time()) + 86_400}
        await rig.sign_in(where)
        rig.provider.keys = [SECOND]
        rig.ahead = 3_500
        await rig.sign_in(where)
        rig.ahead = 3_700
        await rig.refused(where)


class TestCode:
    async def test_that_was_made_up(self, rig: Rig) -> None:
        where, one = rig.made(), asked()
        await where.address(one)
        with pytest.raises(Refused, match="unknown to the provider"):
            await where.exchange("made-up", one)

    async def test_that_was_stolen(self, rig: Rig) -> None:
        assert "unknown to the provider" in await rig.refused(verifier=new_secret())

    async def test_of_a_client_with_another_secret(self, rig: Rig) -> None:
        assert "`oidc.client_secret`" in await rig.refused(rig.made(client_secret="other"))


class TestDiscovery:
    async def test_of_another_provider(self, rig: Rig) -> None:
        rig.provider.says["issuer"] = "https://evil.example"
        assert "'https://evil.example'" in await rig.refused()

    async def test_by_an_address_that_is_nearly_right(self, rig: Rig) -> None:
        assert "to exactly that" in await rig.refused(rig.made(issuer=rig.provider.url + "/"))

    @pytest.mark.parametrize(
        "address",
        ["http://id.example.org/x", "ftp://127.0.0.1/x", "https://a@b/x", "https:///x", "", None, 7,
         "https://x/\n", "https://x/ y"],
    )  # fmt: skip
    async def test_that_leads_astray(self, rig: Rig, address: object) -> None:
        rig.provider.says["token_endpoint"] = address
        assert "`token_endpoint`" in await rig.refused()

    @pytest.mark.parametrize("name", ["authorization_endpoint", "jwks_uri", "userinfo_endpoint"])
    async def test_that_leads_astray_elsewhere(self, rig: Rig, name: str) -> None:
        rig.provider.says[name] = "http://id.example.org/x"
        assert f"`{name}`" in await rig.refused()

    async def test_is_kept_for_an_hour(self, rig: Rig) -> None:
        where = rig.made()
        for rig.ahead in (0, 1_800, 3_700):
            await where.address(asked())
        assert sum(rig.provider.asked.values()) == 2


class TestProvider:
    """That fails, at each of the things that it is asked for."""

    PATHS = ("/.well-known/openid-configuration", "/keys", "/token", "/userinfo")

    @pytest.fixture(params=PATHS)
    def path(self, request: pytest.FixtureRequest, rig: Rig) -> str:
        rig.provider.without = {"preferred_username"}
        rig.provider.more = {"sub": "0815", "preferred_username": "octocat"}
        return str(request.param)

    async def away(self, rig: Rig) -> Retry:
        with pytest.raises(StagerError) as error:
            await rig.sign_in()
        assert isinstance(error.value, Retry)
        assert error.value.reason == "sign-in-away"
        assert error.value.hint
        return error.value

    @pytest.mark.parametrize(
        "answer",
        [
            {"status": 500, "text": "no"},
            {"status": 404, "text": "no"},
            {"status": 302, "headers": {"Location": "http://127.0.0.1:9/"}},
            {"text": "<html>"},
            {"text": "[]"},
            {"text": "[" * 100_000},
            {"body": b"\xff\xfe"},
            {"body": b"\x1f\x8b", "headers": {"Content-Encoding": "gzip"}},
            {"text": "{" + " " * oauth.MOST_BYTES + "}"},
        ],
        ids=lambda answer: str(answer)[:40],
    )
    async def test_answers_what_it_shouldnt(self, rig: Rig, path: str, answer: dict[str, Any]) -> None:
        rig.provider.answers[path] = web.Response(**answer)
        with pytest.raises(StagerError):
            await rig.sign_in()

    async def test_doesnt_answer_in_time(self, rig: Rig, path: str) -> None:
        rig.seconds = 0.3
        rig.provider.hangs.add(path)
        assert "Timeout" in str(await self.away(rig))

    async def test_answers_at_length(self, rig: Rig, path: str) -> None:
        rig.provider.answers[path] = web.Response(text="{" + " " * oauth.MOST_BYTES + "}")
        assert "too long" in str(await self.away(rig))

    async def test_isnt_there(self) -> None:
        async with OpenIDDouble() as provider:
            gone = Rig(provider)
            where = gone.made()
        with pytest.raises(Retry, match="fails at present"):
            await where.address(asked())


class TestRole:
    async def role(self, rig: Rig, groups: object, **more: Any) -> Role:
        rig.provider.claims["groups"] = groups
        given = {"makers": "developer", "staff": "viewer", "bosses": "administrator", **more.pop("roles", {})}
        where = rig.made(roles_claim=more.pop("roles_claim", "groups"), roles=given, **more)
        return where.role((await rig.sign_in(where)).proof)

    @pytest.mark.parametrize(
        ("groups", "role"),
        [
            (["staff"], Role.VIEWER),
            (["staff", "makers", "other"], Role.DEVELOPER),
            (["bosses", "staff"], Role.ADMINISTRATOR),
            ("makers", Role.DEVELOPER),
            (["other"], Role.NONE),
            ([], Role.NONE),
            ("", Role.NONE),
            (None, Role.NONE),
            (True, Role.NONE),
            ({"makers": True}, Role.NONE),
            ([["makers"]], Role.NONE),
            ("makers staff", Role.NONE),
            (["Makers", "makers "], Role.NONE),
        ],
    )
    async def test_comes_from_the_claims_values(self, rig: Rig, groups: object, role: Role) -> None:
        assert await self.role(rig, groups) is role

    async def test_by_a_path(self, rig: Rig) -> None:
        rig.provider.claims["realm_access"] = {"roles": ["makers"]}
        assert await self.role(rig, [], roles_claim="realm_access.roles") is Role.DEVELOPER

    async def test_by_a_name_with_dots(self, rig: Rig) -> None:
        rig.provider.claims["https://example.org/roles"] = ["makers"]
        assert await self.role(rig, [], roles_claim="https://example.org/roles") is Role.DEVELOPER

    async def test_out_of_the_userinfo(self, rig: Rig) -> None:
        rig.provider.without = {"groups"}
        rig.provider.more = {"sub": "0815", "groups": ["makers"]}
        assert await self.role(rig, []) is Role.DEVELOPER

    async def test_ends_with_the_time_of_the_sign_in(self, rig: Rig) -> None:
        rig.provider.claims["groups"] = ["makers"]
        where = rig.made(roles_claim="groups", roles={"makers": "developer"}, signed_in_hours=2)
        proof = (await rig.sign_in(where)).proof
        for rig.ahead, role in ((7_000, Role.DEVELOPER), (7_300, Role.NONE), (-100, Role.NONE)):
            assert where.role(proof) is role

    async def test_follows_the_configuration_at_once(self, rig: Rig) -> None:
        rig.provider.claims["groups"] = ["makers"]
        before = rig.made(roles_claim="groups", roles={"makers": "developer"})
        proof = (await rig.sign_in(before)).proof
        after = rig.made(roles_claim="groups", roles={"makers": "viewer"})
        assert after.role(proof) is Role.VIEWER
        assert rig.made().role(proof) is Role.NONE

    @pytest.mark.parametrize(
        "proof", ["", "gho_x", "[]", "{}", '[["makers"], "x"]', '[["makers"], NaN]', "[1, 2]"]
    )
    async def test_of_no_proof(self, rig: Rig, proof: str) -> None:
        where = rig.made(roles_claim="groups", roles={"makers": "developer"})
        assert where.role(proof) is Role.NONE

    async def test_what_is_kept_holds_no_token(self, rig: Rig) -> None:
        rig.provider.claims["groups"] = ["makers", "private"]
        where = rig.made(roles_claim="groups", roles={"makers": "developer"})
        proof = (await rig.sign_in(where)).proof
        assert "makers" in proof
        assert "at-secret" not in proof
        assert "private" not in proof


async def test_the_strategy_asks_its_provider(rig: Rig) -> None:
    rig.provider.claims["groups"] = ["makers"]
    strategy = OpenIDConnectAuthentication(rig.settings(roles_claim="groups", roles={"makers": "developer"}))
    where = strategy.sign_in()
    assert isinstance(where, OpenIDSignIn)
    identity = await rig.sign_in(where)
    actor = Actor(identity.name, "x", proof=identity.proof)

    assert await strategy.role(actor, "shop", "acme") is Role.DEVELOPER
    assert strategy.signed_in_for() == 86_400
    assert await strategy.authenticate(Credentials("Bearer eyJx.e30.x", {})) is None


class TestSettings:
    @pytest.mark.parametrize(
        "issuer",
        ["http://id.example.org", "https://id.example.org?x=1", "https://u@id.example.org", "id.example.org",
         "https://id.example.org#x", "ftp://127.0.0.1", "https://", "http://127.0.0.1.example.org",
         "https://[x", "https://x:y"],
    )  # fmt: skip
    def test_an_issuer_that_isnt_safe(self, issuer: str) -> None:
        with pytest.raises(ValueError, match="should begin with https"):
            Settings.model_validate({"issuer": issuer, "client_id": "x", "client_secret": "y"})

    @pytest.mark.parametrize("issuer", ["http://127.0.0.1:1", "http://localhost", "http://[::1]:8/x"])
    def test_one_on_this_machine(self, issuer: str) -> None:
        assert Settings.model_validate({"issuer": issuer, "client_id": "x", "client_secret": "y"})

    @pytest.mark.parametrize("half", [{"roles_claim": "groups"}, {"roles": {"x": "viewer"}}])
    def test_half_of_the_roles(self, half: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="need each other"):
            Settings.model_validate({"issuer": "https://x", "client_id": "x", "client_secret": "y", **half})

    def test_openid_is_always_requested(self) -> None:
        given = {"issuer": "https://x", "client_id": "x", "client_secret": "y", "scopes": ["groups"]}
        assert Settings.model_validate(given).scopes == ("openid", "groups")

    def test_the_secret_isnt_printed(self) -> None:
        made = Settings.model_validate({"issuer": "https://x", "client_id": "x", "client_secret": "s3cret"})
        assert "s3cret" not in repr(made)


async def test_a_sign_in_ends_when_the_settings_say(rig: Rig) -> None:
    """Here, where both the strategy and the sessions are."""
    strategy = OpenIDConnectAuthentication(rig.settings(signed_in_hours=0.5))
    harness = Harness(authentication=[strategy])
    await harness.start(rest=False)
    try:
        ann = Actor("ann", "x", strategy="OpenIDConnectAuthentication")
        session, _ = await harness.running.control_plane.identity.sessions.start(ann, "", command_line=True)
        assert session.expires_at - session.created_at == timedelta(minutes=30)
    finally:
        await harness.kill()
