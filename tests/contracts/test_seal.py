"""What every seal promises."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from stager.domain.errors import Refused
from stager.ports.secret_box import SecretBox
from stager.stores.secret_box import FileSecretBox
from stager.testing.fakes.secret_box import FakeSecretBox


@pytest.fixture(params=["thin", "file"])
def seal(request: pytest.FixtureRequest, tmp_path: Path) -> SecretBox:
    return FakeSecretBox() if request.param == "thin" else FileSecretBox(tmp_path / "seal.key")


@pytest.mark.parametrize("secret", ["", "gho_16C7e42F292c6912E7710c838347Ae178B4a", "ü\n" * 5000])
def test_what_is_closed_can_be_opened(seal: SecretBox, secret: str) -> None:
    sealed = seal.close(secret)

    assert seal.open(sealed) == secret
    assert not secret or secret not in sealed


@pytest.mark.parametrize("change", [lambda s: s[:-8], lambda s: "A" * len(s), lambda _s: "nonsense ü"])
def test_what_was_changed_cannot(seal: SecretBox, change: object) -> None:
    with pytest.raises(Refused) as caught:
        seal.open(change(seal.close("a secret")))  # type: ignore[operator]
    assert caught.value.reason == "seal-broken"


class TestTheKey:
    def test_stays_and_is_ours_alone(self, tmp_path: Path) -> None:
        sealed = FileSecretBox(tmp_path / "seal.key").close("a secret")

        assert FileSecretBox(tmp_path / "seal.key").open(sealed) == "a secret"
        assert stat.S_IMODE((tmp_path / "seal.key").stat().st_mode) == 0o600

    def test_of_another_installation_opens_nothing(self, tmp_path: Path) -> None:
        sealed = FileSecretBox(tmp_path / "one").close("a secret")

        with pytest.raises(Refused):
            FileSecretBox(tmp_path / "two").open(sealed)
