"""An invitation is read back as it was written, and nothing else is one."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stager.cli.swarm.invitation import PREFIX, Invitation, decode
from stager.domain.errors import Refused

KEY = f"ssh-ed25519 {'A' * 68} stager-test1"
VALID = Invitation("10.0.0.1:2377", f"SWMTKN-1-{'a' * 50}-{'b' * 25}", KEY)


def written(**changed: object) -> str:
    values = {"manager": VALID.manager, "token": VALID.token, "key": VALID.key, **changed}
    return PREFIX + base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


def test_it_is_read_back() -> None:
    assert decode(f"  {VALID.encode()}\n") == VALID


@pytest.mark.parametrize(
    "line",
    [
        "",
        PREFIX,
        f"{PREFIX}!!!",
        f"{PREFIX}{'A' * 8000}",
        written(key=f"{KEY}\nssh-ed25519 {'B' * 68} evil"),
        written(key=f'command="x" {KEY}'),
        written(key=7),
        written(token="SWMTKN-$(reboot)-aaaaaaaaaaaaaaaaaaaaaa"),
        written(manager="10.0.0.1"),
        written(manager="evil.example.org:2377"),
    ],
)
def test_others_are_refused(line: str) -> None:
    with pytest.raises(Refused) as caught:
        decode(line)

    assert caught.value.reason == "invitation-invalid"


@given(st.text(max_size=200))
def test_no_text_is_an_error_of_another_kind(text: str) -> None:
    with pytest.raises(Refused):
        decode(PREFIX + text)
