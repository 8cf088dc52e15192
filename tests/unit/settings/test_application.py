"""One type for an application from the configuration to the engine.

A new per-application setting touches two files: its section (`settings/sections/applications.py` or
`defaults.py`), where it is declared and documented, and `domain/application.py` (or `domain/profile.py`),
where control and engines read it. Nothing between these two names single settings.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pytest

import stager
from stager.control.reconciler.instance_specs import spec_of
from stager.control.reconciler.variables import Launch
from stager.domain.application import Application, Container
from stager.domain.deployment import DeployedService
from stager.domain.profile import Limits, ProfileName
from stager.domain.service import ServiceSpec
from stager.domain.source import Trust
from stager.ports.engine import InstanceSpec
from stager.settings.sections.applications import App
from stager.settings.values.scalars import Size
from tests.unit.docs.example import a_live_deployment, an_environment
from tests.unit.settings.conftest import LoadText

PACKAGE = Path(stager.__file__).parent
WHOLE = (
    "port: 80, command: run it, env: {A: b, C: '${TOKEN}'}, secrets: {D: e}, repo: acme/web,"
    " health_path: /up, start_timeout: 1m, probe_timeout: 1s, drain_timeout: 2s, stop_grace_period: 3s,"
    " memory: 1g, cpus: 2, pids: 9, log_size: 1m, egress: internet, egress_allow: ['10.0.0.5:1'],"
    " container_create_params: {Tty: true}, build: {context: web, timeout: 5m}, image_timeout: 6m,"
    " hooks: {after_launch: go}, repository_file: x.yml, repository_file_keys: [port], forks: open,"
    " pull_requests: {labels: a}, private: {methods: sign-in, max_age: 1d}, data: {keep: 2}, index: true,"
    " public_logs: false,"
    " services: {search: {image: 'elastic:8', env: {X: '${TOKEN}'}}}"
)


def test_each_setting_reaches_the_application(load_text: LoadText) -> None:
    """Whatever is set differs from the default of the application's field."""
    settings = load_text(
        f"forks: {{unsafe_shared_builder: true}}\nimages: {{shop: {{{WHOLE}}}}}", TOKEN="x"
    ).settings
    shop = settings.applications.get("shop")
    plain = Application("shop", "shop", None, Limits(1, 1, 1, 1))
    from_the_key, from_the_image = {"name", "image"}, {"has_healthcheck"}
    same = {f.name for f in fields(Application) if getattr(shop, f.name) == getattr(plain, f.name)}

    assert same == from_the_key | from_the_image
    assert (shop.owner, shop.repository) == ("acme", "web")
    assert (dict(shop.variables), dict(shop.secrets)) == ({"A": "b"}, {"C": "x", "D": "e"})


def test_a_new_setting_needs_two_declarations() -> None:
    """One in the section and one in the domain, for it to reach the application, the container that the
    engine gets, and the digest by which a changed instance is recognised."""

    class NewApp(App):
        shm_size: Size = 64 << 20
        """Size of /dev/shm."""

    @dataclass(frozen=True, slots=True)
    class NewContainer(Container):
        shm_size: int = 0

    @dataclass(frozen=True, slots=True)
    class NewApplication(Application):
        shm_size: int = 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stager.settings.sections.applications.Application", NewApplication)
        patch.setattr("stager.domain.application.Container", NewContainer)
        specs = []
        for size in ("1m", "2m"):
            app = NewApp.model_validate({"port": 80, "shm_size": size}).named("shop").application("shop")
            assert isinstance(app, NewApplication)
            web = DeployedService(app.stack.main_service, "sha256:1", is_main=True)
            deployment = replace(a_live_deployment(), services=(web,))
            specs.append(spec_of(Launch(an_environment(None), deployment, app, {}, b"key"), web))

    assert [getattr(spec.container, "shm_size", None) for spec in specs] == [1 << 20, 2 << 20]
    assert specs[0].inputs != specs[1].inputs


def test_the_engine_gets_the_settings_of_the_container_as_one_value() -> None:
    names = {field.name for field in fields(InstanceSpec)}

    assert names & {field.name for field in fields(Application)} <= {"image", "variables", "container"}
    assert {"container", "profile"} <= names
    declared = {field.name for declared_in in (Application, ServiceSpec) for field in fields(declared_in)}
    assert {field.name for field in fields(Container)} <= declared


def test_the_application_is_built_in_one_place() -> None:
    """No other module of the package calls its constructor, so none has to be changed for a new field."""
    callers = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if "testing" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Application"
    }

    assert callers == {"settings/sections/applications.py"}


def test_the_profile_comes_from_trust_and_settings(load_text: LoadText) -> None:
    text = "images: {{shop: {{port: 1, egress: {}, egress_allow: ['10.0.0.5:1'], memory: 1g}}}}"
    shop = {
        reach: load_text(text.format(reach)).settings.applications.get("shop")
        for reach in ("private", "internet", "none")
    }

    trusted, fork = (shop["private"].profile_for(trust) for trust in Trust)
    assert (trusted.name, fork.name) == (ProfileName.STANDARD, ProfileName.RESTRICTED)
    assert (trusted.egress.reach, fork.egress.reach) == ("private", "internet")
    assert trusted.egress.allow == fork.egress.allow != ()
    assert trusted.limits == fork.limits == shop["private"].limits
    assert {shop["none"].profile_for(trust).egress.reach for trust in Trust} == {"none"}
    assert {shop["internet"].profile_for(trust).egress.reach for trust in Trust} == {"internet"}


def test_engines_decide_by_profile() -> None:
    """Neither the engine nor its firewall reads the trust, except to record it as a label. Builders do: they
    differ by whose code they build."""
    readers = {
        str(path.relative_to(PACKAGE))
        for path in (PACKAGE / "engines" / "docker").rglob("*.py")
        if path.parent.name != "build" and "Trust" in path.read_text()
    }

    assert readers == {"engines/docker/labels.py"}
    assert "Trust" not in inspect.getsource(InstanceSpec)
