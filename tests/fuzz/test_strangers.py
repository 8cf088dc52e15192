"""What any client may send to Stager's own pages and API to be authenticated: credentials, cookies, tokens,
sign-ins, a preview's password. Only what is right is, it always is, and nothing ends as a mistake of ours."""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stager.control.identity.authorizer import Roles
from stager.domain.identity.access_policy import Privacy
from stager.domain.identity.actor import Actor
from stager.domain.identity.roles import Role
from stager.testing.fakes.login import FakeAccounts
from stager.web.auth import cookies
from tests.fuzz.junk import JUNK, damaged, written
from tests.fuzz.stage import Stage, quiet, staged
from tests.length import length
from tests.unit.control.harness import SHOP
from tests.unit.web.harness import HOST

PASSWORD = "Pässe:1"
USERS = {"ann": PASSWORD, "böb": "x"}
SESAME = "open sesame"
PRIVATE = replace(SHOP, privacy=Privacy(frozenset({"password", "sign-in"}), SESAME))
ADDRESSES = count()
"""Whoever guesses is kept waiting by address, so each case has a network of its own."""


@pytest.fixture(scope="module", name="stage")
def opened_stage() -> Iterator[Stage]:
    roles = Roles({"basic:ann": Role.ADMINISTRATOR})
    with staged(applications=[PRIVATE], users=USERS, roles=roles, accounts=FakeAccounts()) as stage:
        yield stage


def ask(stage: Stage, method: str, path: str, **how: object) -> httpx.Response:
    """Ask as a stranger from a new address."""
    sent = how.pop("headers", {})
    assert isinstance(sent, dict)
    pairs = [
        (n.encode(), v if isinstance(v, bytes) else v.encode("utf-8", "replace")) for n, v in sent.items()
    ]
    number = next(ADDRESSES)
    pairs.append((b"x-forwarded-for", b"2001:db8:%x:%x::1" % (number >> 16, number & 0xFFFF)))
    with quiet():
        answer = stage.run(stage.web.client.request(method, path, headers=pairs, **how))  # type: ignore[arg-type]
    assert answer.status_code < 500, answer.text
    return answer  # fmt: skip


def authorization(pair: bytes, scheme: str = "Basic") -> dict[str, str]:
    return {"authorization": f"{scheme} {base64.b64encode(pair).decode()}"}


GOOD_PAIR = f"ann:{PASSWORD}".encode()
PAIRS = st.one_of(
    damaged(st.just(GOOD_PAIR)),
    st.binary(max_size=40),
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from([b"", b":", b"ann", b"ann:", b"\xff:x", b"ann:" + b"x" * 100_000, GOOD_PAIR + b"\0"]),
)


def is_right(pair: bytes) -> bool:
    """Whether it is ann's or böb's, in one of the ways that Unicode has to write it."""
    try:
        text = unicodedata.normalize("NFC", pair.decode())
    except UnicodeDecodeError:
        return False
    return text in {f"{user}:{password}" for user, password in USERS.items()}


@length(100)
@given(
    PAIRS.filter(lambda pair: not is_right(pair)), st.sampled_from(["Basic", "basic", "Bearer", "Digest", ""])
)
def test_wrong_credentials_are_nobodys(stage: Stage, pair: bytes, scheme: str) -> None:
    assert ask(stage, "GET", "/api/v1/whoami", headers=authorization(pair, scheme)).status_code == 401


@length(50)
@given(
    st.binary(max_size=60) | st.sampled_from([b"Basic", b"Basic \xff", b"Basic YW5uOg=", b"Bearer stager_"])
)
def test_a_header_that_is_none_is_rejected(stage: Stage, value: bytes) -> None:
    assert ask(stage, "GET", "/api/v1/whoami", headers={"authorization": value}).status_code == 401


@length(30)
@given(
    st.sampled_from(["NFC", "NFD", "NFKC"]),
    st.sampled_from(["Basic ", "basic ", "BASIC  "]),
    st.sampled_from(["", "?image_name=x", "?a=b"]),
)
def test_right_ones_always_are_somebodys(stage: Stage, form: str, scheme: str, query: str) -> None:
    pair = unicodedata.normalize(form, GOOD_PAIR.decode()).encode()  # type: ignore[arg-type]
    headers = {"authorization": scheme + base64.b64encode(pair).decode()}
    answer = ask(stage, "GET", f"/api/v1/whoami{query}", headers=headers)
    assert answer.status_code == 200
    assert answer.json()["name"] == "ann"


COOKIES = st.lists(
    st.builds(
        "{}={}".format,
        st.sampled_from([cookies.SESSION, f"{cookies.PREFIX}{cookies.SESSION}", cookies.SIGN_IN, "a", ""]),
        st.text(max_size=40) | st.text("abcdefABCDEF0123456789-_", min_size=40, max_size=50),
    ),
    max_size=4,
)


def session(stage: Stage) -> str:
    """The secret of a session of ann's."""
    sessions = stage.web.harness.running.control_plane.identity.sessions
    ann = Actor("ann", "BasicAuthentication", strategy="BasicAuthentication")
    return stage.run(sessions.start(ann, "a browser"))[1]


@length(100)
@given(COOKIES, st.sampled_from(["/account", "/", "/login", "/api/v1/whoami"]))
def test_a_cookie_that_we_didnt_give_is_rejected(stage: Stage, pairs: list[str], path: str) -> None:
    answer = ask(stage, "GET", path, headers={"cookie": "; ".join(pairs)})
    assert (answer.status_code == 200) is (path in {"/", "/login"})
    assert cookies.SESSION not in answer.headers.get("set-cookie", "")
    assert "ann" not in answer.text.split()


@length(60)
@given(st.data())
def test_ours_is_known_until_something_is_wrong_with_it(stage: Stage, data: st.DataObject) -> None:
    good = session(stage).encode()
    bad = data.draw(damaged(st.just(good)).filter(lambda secret: secret.strip() != good))
    others = [pair.encode("utf-8", "replace") for pair in data.draw(COOKIES) if "session=" not in pair]
    others = [pair for pair in others if b";" not in pair]
    for secret, status in ((good, 200), (bad, 401)):
        pairs = data.draw(st.permutations([*others, cookies.SESSION.encode() + b"=" + secret]))
        answer = ask(stage, "GET", "/api/v1/whoami", headers={"cookie": b"; ".join(pairs)})
        assert answer.status_code == status


@length(100)
@given(
    st.sampled_from(["/api/v1/login/device", "/api/v1/login/device/poll"]),
    st.one_of(
        JUNK.map(written),
        st.builds(lambda handle: written({"handle": handle}), JUNK),
        st.binary(max_size=40),
        damaged(st.just(b'{"handle": "abcdef"}')),
        st.sampled_from([b"[" * 100_000, b'{"handle":' * 9_000, b'{"handle": "\\ud800"}']),
    ),
    st.sampled_from(["application/json", "text/plain", "application/x-www-form-urlencoded", "é", ""]),
)  # fmt: skip
def test_no_body_signs_anybody_in(stage: Stage, path: str, body: bytes, media_type: str) -> None:
    if stage.next_case():
        stage.run(stage.web.harness.rest(1))
    answer = ask(stage, "POST", path, content=body, headers={"content-type": media_type})
    assert answer.status_code in ({200} if path.endswith("device") else {400, 410, 422})


HOSTS = st.sampled_from(
    ["x.preview.test", "X.preview.test.", "x.preview.test:80", "y.preview.test", HOST, ""]
)
WAYS_BACK = st.sampled_from(
    ["/", "/a?b", "//evil.test", "/\\evil.test", "https://evil.test", "\n", "/\ud800"]
)
FORMS = st.fixed_dictionaries(
    {"host": HOSTS | st.text(max_size=20)},
    optional={"to": WAYS_BACK | st.text(max_size=20), "password": st.text(max_size=20) | st.just(SESAME)},
)


@length(100)
@given(FORMS, st.sampled_from(["POST", "GET", "SIGN"]))
def test_only_its_password_opens_a_preview(stage: Stage, form: dict[str, str], method: str) -> None:
    private_preview(stage)
    told = {name: value.encode("utf-8", "replace").decode() for name, value in form.items()}
    if method == "POST":
        answer = ask(stage, "POST", "/preview-access", data=told, headers={"origin": f"http://{HOST}"})
    else:
        answer = ask(stage, "GET", f"/preview-access{'/sign-in' * (method == 'SIGN')}", params=told)
    named = form["host"].lower() in {"x.preview.test", "x.preview.test.", "x.preview.test:80"}
    right = method == "POST" and form.get("password") == SESAME
    assert (answer.status_code == 303) is (named and right), answer.status_code
    if named and right:
        assert answer.headers["location"].startswith("http://x.preview.test/.well-known/stager/access?grant=")
        assert "evil" not in answer.headers["location"]
    else:
        assert "grant=" not in answer.text


def private_preview(stage: Stage) -> None:
    if stage.next_case() or not stage.web.harness.store._tables.environments:
        stage.run(stage.web.harness.launch("x"))
        stage.run(stage.web.harness.rest(60))
    stage.run(stage.web.harness.rest(1))


PARTS = st.lists(
    st.sampled_from(
        [
            b"--x\r\n",
            b"--x--\r\n",
            b"--x--",
            b'Content-Disposition: form-data; name="action"\r\n\r\n',
            b'Content-Disposition: form-data; name="action"; filename="f"\r\n\r\n',
            b"Content-Disposition: form-data\r\n\r\n",
            b"Content-Disposition: attachment; name*=utf-8''%ff\r\n\r\n",
            b"Content-Type: \xff; charset=none\r\n",
            b"get_oauth_url\r\n",
            b"\r\n",
            b": ",
            b"action=x&action=%ff&=&&",
            b"\0",
            b"x" * 2_000,
        ]
    )
    | st.binary(max_size=6),
    max_size=10,
).map(b"".join)
FORM_TYPES = st.sampled_from(
    [
        "multipart/form-data; boundary=x",
        "multipart/form-data; boundary=x; charset=none",
        "multipart/form-data; boundary=x; charset=utf-16",
        "multipart/form-data",
        'multipart/form-data; boundary=""',
        "multipart/form-data; boundary=é",
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=none",
    ]
)


@length(150)
@given(
    st.sampled_from(["/event_receiver", "/launch", "/kill", "/login", "/logout", "/preview-access"]),
    FORM_TYPES,
    PARTS,
)
def test_any_form_is_read_or_refused(stage: Stage, path: str, media_type: str, body: bytes) -> None:
    answer = ask(stage, "POST", path, content=body, headers={"content-type": media_type})
    assert answer.status_code in {200, 303, 400, 401, 403, 404, 422}
    assert "set-cookie" not in answer.headers or cookies.SESSION not in answer.headers["set-cookie"]
