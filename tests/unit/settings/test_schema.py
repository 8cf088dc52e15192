"""The configuration explains itself, and the pages that are made from it are up to date."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import yaml

from stager.domain.recipe import Hook
from stager.settings.loading.loader import load
from stager.settings.model import Settings
from stager.settings.plugins.available import built_in
from stager.settings.plugins.sections import model_for
from stager.settings.reference_page import reference, repository_reference
from stager.settings.repository_file import read_file
from stager.settings.schema import json_schema, to_yaml
from stager.settings.sections.applications import RepositoryKey
from tests.unit.settings.conftest import LoadText

ROOT = Path(__file__).parents[3]


def test_the_reference_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text("utf-8")
    assert page == reference(), "run: python -m stager.settings.reference_page > docs/reference/settings.md"


def test_the_page_of_the_repository_s_own_file_is_up_to_date() -> None:
    page = (ROOT / "docs" / "reference" / "repository-file.md").read_text("utf-8")
    command = "python -m stager.settings.reference_page repository > docs/reference/repository-file.md"
    assert page == repository_reference(), f"run: {command}"


def test_its_example_can_be_used() -> None:
    example = repository_reference().partition("```yaml\n")[2].partition("```")[0]
    said = read_file(example.encode(), ".stager.yml", get_args(RepositoryKey))
    assert said.manifest.port == 8000
    assert said.manifest.hooks.after_launch == (Hook(("bin/migrate",)), Hook(("bin/seed", "--small")))


def test_every_setting_is_described() -> None:
    for line in (reference() + repository_reference()).splitlines():
        if line.startswith("| `"):
            name, kind, _, about = (cell.strip() for cell in line.strip("|").split("|"))
            assert about.endswith("."), name
            assert kind != "anything", name


def test_every_setting_is_on_the_page() -> None:
    page = reference()
    for definition in (json_schema(), *json_schema()["$defs"].values()):
        for name in definition.get("properties", ()):
            assert f"`{name}`" in page


def test_the_sample_loads_and_is_only_warned_of_what_it_leaves_open() -> None:
    names = ("STAGER_PASSWORD", "STAGER_HOOK_SECRET", "STAGER_GITHUB_TOKEN", "STRIPE_KEY")
    loaded = load(ROOT / "config.sample.yml", environ=dict.fromkeys(names, "x"))

    assert loaded.settings.images["shop"].port == 3000
    (warning,) = loaded.warnings
    assert "Set `preview_domain`" in warning


def test_what_is_in_force_can_be_read_again(load_text: LoadText) -> None:
    text = """
    domain: demo.stager.io
    listen: '[::1]:8000'
    trusted_proxies: [10.0.0.0/8]
    images: {shop: {port: 80, command: a 'b c', start_timeout: 90, memory: 1g, cpus: 0.5}}
    reconcile_interval: 1.5
    """
    settings = load_text(text).settings
    assert load_text(to_yaml(settings)).settings == settings


def test_secrets_are_starred_in_what_is_in_force(load_text: LoadText) -> None:
    text = """
    users: ['joe:hunter2']
    images: {shop: {port: 80, env: {A: hunter2}}}
    github: {client_id: Iv1.a, client_secret: hunter2}
    """
    shown = to_yaml(load_text(text).settings)
    data = yaml.safe_load(shown)

    assert "hunter2" not in shown
    assert data["users"] == ["joe:**********"]
    assert data["images"]["shop"]["env"] == {"A": "**********"}
    assert data["github"]["client_secret"] == "**********"
    assert data["github"]["incoming_auth"]["hook_secret"] == "", "that it isn't set may be seen"


class TestSchema:
    def test_it_has_every_key_and_no_other(self) -> None:
        schema = json_schema()
        assert (
            set(schema["properties"]) == set(model_for(built_in()).model_fields) > set(Settings.model_fields)
        )
        sections = (schema, *(s for s in schema["$defs"].values() if s["type"] == "object"))
        assert len(sections) > 10
        for section in sections:
            assert section["additionalProperties"] is False

    @pytest.mark.parametrize(
        ("section", "key"), [("App", "port"), ("App", "cpus"), ("Engine", "connect_via")]
    )
    def test_a_variable_may_stand_for_any_value(self, section: str, key: str) -> None:
        forms = json_schema()["$defs"][section]["properties"][key]["anyOf"]
        assert {"type": "string", "pattern": r"^file:|\$\{"} in forms

    def test_it_takes_the_walkthrough_s_form_of_nginx(self) -> None:
        assert "array" in [form.get("type") for form in json_schema()["properties"]["nginx"]["anyOf"]]

    def test_its_defaults_are_valid(self) -> None:
        assert json_schema()["properties"]["listen"]["default"] == "127.0.0.1:8000"
