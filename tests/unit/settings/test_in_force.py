"""The settings in force: where each comes from, and no secrets."""

from __future__ import annotations

from pathlib import Path

from stager.settings.in_force import SettingInForce, settings_in_force
from stager.settings.loading.loader import load

FILE = """\
authentication_strategy: BasicAuthentication
users:
  - "ann:${PASSWORD}"
  - "bob:plain-secret"
github: {incoming_auth: {hook_secret: hook-secret}}
scheme: ${SCHEME:-https}
images:
  shop:
    port: 3000
    env: {API_KEY: env-secret}
"""


def in_force(folder: Path) -> dict[str, SettingInForce]:
    path = folder / "config.yml"
    path.write_text(FILE)
    loaded = load(path, environ={"PASSWORD": "variable-secret"})
    return {each.path: each for each in settings_in_force(loaded)}


def test_each_has_its_origin(tmp_path: Path) -> None:
    found = in_force(tmp_path)

    assert (found["images.shop.port"].value, found["images.shop.port"].origin) == ("3000", "line 9")
    assert found["public_list"] == SettingInForce("public_list", "false", "default")
    assert found["scheme"].origin == "line 6, ${SCHEME}"
    assert found["images.shop.env.API_KEY"].line == 10


def test_no_secret_is_shown(tmp_path: Path) -> None:
    text = str(in_force(tmp_path))
    for secret in ("plain-secret", "hook-secret", "env-secret", "variable-secret"):
        assert secret not in text


def test_without_a_file_all_are_defaults() -> None:
    assert {each.origin for each in settings_in_force(load(None, environ={}))} == {"default"}
