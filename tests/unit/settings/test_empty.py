"""An explicit empty list, 0, `false` or empty text is refused with a sentence, or it is what runs: it never
turns into a default unnoticed. All settings are tried; a new one is covered by itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast, get_args, get_origin

import pytest
from pydantic import BaseModel, RootModel, SecretStr
from pydantic.fields import FieldInfo

from stager.assembly.front import front_options
from stager.settings.descriptions import descriptions
from stager.settings.loading.loader import load
from stager.settings.loading.problems import ConfigurationError, Problem, bare
from stager.settings.model import Settings
from stager.settings.plugins.available import Known, built_in
from stager.settings.plugins.sections import model_for
from stager.settings.values.secret import Secret
from stager.state import StateDirectory

EMPTIES: tuple[Any, ...] = ([], {}, 0, False, "")
SHOP = ("images", "shop")
BASE: Mapping[tuple[str, ...], Mapping[str, Any]] = {
    SHOP: {"port": 80},
    (*SHOP, "services", "shop"): {"command": "x"},
    ("tls",): {"listen": "127.0.0.1:0", "certificate": "c.pem", "key": "k.pem"},
    ("tls", "acme"): {"email": "admin@example.org"},
    ("tls", "acme", "dns"): {"hook": "true"},
    ("tls", "acme", "dns", "rfc2136"): {"server": "192.0.2.1:53", "key_name": "stager", "secret": "c3RhZ2Vy"},
    ("notify",): {"urls": ["json://localhost"]},
    ("slack",): {"webhook_url": "https://hooks.slack.com/services/T1/B1/x1"},
    ("oidc",): {"issuer": "https://id.test", "client_id": "a", "client_secret": "b"},
}
"""What a section needs besides, to be one."""


def sections_within(annotation: Any) -> type[BaseModel] | None:
    found = bare(annotation)
    is_model = isinstance(found, type) and issubclass(found, BaseModel) and not issubclass(found, RootModel)
    return cast("type[BaseModel]", found) if is_model else None


def fields_of(
    model: type[BaseModel], trail: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Every setting with its path; an entry under `images` is called shop."""
    for name, field in model.model_fields.items():
        here = (*trail, name)
        yield here, field
        inner = sections_within(field.annotation)
        if inner is None and get_origin(bare(field.annotation)) is dict:
            inner, here = sections_within(get_args(bare(field.annotation))[1]), (*here, "shop")
        if inner is not None:
            yield from fields_of(inner, here)


def described_in(
    model: type[BaseModel], trail: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    """The description of every setting with its path, as in `fields_of`."""
    for name, text in descriptions(model).items():
        yield (*trail, name), text
    for name, field in model.model_fields.items():
        inner, here = sections_within(field.annotation), (*trail, name)
        if inner is None and get_origin(bare(field.annotation)) is dict:
            inner, here = sections_within(get_args(bare(field.annotation))[1]), (*here, "shop")
        if inner is not None:
            yield from described_in(inner, here)


EVERY = dict(fields_of(model_for(built_in())))
DESCRIBED = dict(described_in(model_for(built_in())))


def written(trail: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A configuration that says this, and else only what it must."""
    data: dict[str, Any] = {}
    for length in range(1, len(trail)):
        section = data
        for part in trail[:length]:
            section = section.setdefault(part, {})
        section.update(BASE.get(trail[:length], {}))
    section = data
    for part in trail[:-1]:
        section = section[part]
    section[trail[-1]] = value
    if trail[:2] == ("tls", "acme"):
        data["domain"] = "demo.example.org"
        del data["tls"]["certificate"], data["tls"]["key"]
        if "rfc2136" in trail:
            del data["tls"]["acme"]["dns"]["hook"]
    if trail[0] == "local_forge":
        data["images"] = {"shop": {"port": 80}}
    return data


def loaded(folder: Path, trail: tuple[str, ...], value: Any) -> tuple[Settings | None, tuple[Problem, ...]]:
    """What comes of it: settings, or problems."""
    path = folder / "config.yml"
    path.write_text(json.dumps(written(trail, value)))
    try:
        return load(path, environ={}, known=Known()).settings, ()
    except ConfigurationError as error:
        return None, error.problems


def value_at(settings: Any, trail: tuple[str, ...]) -> Any:
    for part in trail:
        settings = settings[part] if isinstance(settings, dict) else getattr(settings, part)
    return settings


def plain(value: Any) -> Any:
    """The text that a secret hides."""
    if isinstance(value, Secret):
        return value.reveal()
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def is_empty(value: Any, given: Any) -> bool:
    """Whether this is what the file has: empty, or a number or truth value as text."""
    value = plain(value)
    if isinstance(value, BaseModel):
        return isinstance(given, dict | list) or (isinstance(value, RootModel) and not value.root)
    return not value or value == (str(given).lower() if given in (0, False) else given)


CASES = [(trail, empty) for trail in EVERY for empty in EMPTIES]


@pytest.mark.parametrize(("trail", "empty"), CASES, ids=[f"{'.'.join(t)}={e!r}" for t, e in CASES])
def test_is_refused_or_what_is_in_force(tmp_path: Path, trail: tuple[str, ...], empty: Any) -> None:
    settings, problems = loaded(tmp_path, trail, empty)
    if settings is None:
        section = ".".join(trail[:-1])  # or it is another setting there that is missing then
        assert all(problem.path.startswith(section) and problem.message for problem in problems)
        return
    value = value_at(settings, trail)

    says_what_empty_means = "empty" in DESCRIBED.get(trail, "")
    assert is_empty(value, empty) or says_what_empty_means, f"{empty!r} became {value!r}"


Check = Callable[[Settings], bool]


def of_shop(check: Callable[[Any], bool]) -> Check:
    return lambda settings: check(settings.applications.get("shop"))


STATE = StateDirectory(Path("/s"))
RUNS: dict[str, Check] = {
    "trusted_proxies": lambda s: (
        [
            a
            for a in front_options(s, STATE).arguments(STATE.front)
            if a.startswith(("--trusted", "--no-trusted"))
        ]
        == ["--no-trusted-proxies"]
    ),
    "access_log": lambda s: "--no-access-log" in front_options(s, STATE).arguments(STATE.front),
    "tls.redirect": lambda s: not front_options(s.model_copy(update={"scheme": "https"}), STATE).https_port,
    "images.shop.stop_grace_period": of_shop(lambda a: a.stop_grace_period == 0),
    "images.shop.drain_timeout": of_shop(lambda a: a.drain_timeout == 0),
    "images.shop.repository_file": of_shop(lambda a: a.repository_file == ""),
    "images.shop.repository_file_keys": of_shop(lambda a: a.repository_file_keys == frozenset()),
    "images.shop.public_logs": of_shop(lambda a: not a.public_logs),
    "images.shop.pull_requests.drafts": of_shop(lambda a: not a.rules.drafts),
}
"""What runs by an empty value that isn't the default, where more than the value itself is made of it."""
TAKEN_AS_THEY_ARE = {
    "builds.cache_size",  # BuildxBuilder: None alone leaves the cache alone
    "builds.keep_revisions",  # no earlier revision keeps its images
    "builds.min_free_disk",  # compared with what is free
    "builds.submodules",  # contracts/test_sources.py: their folders stay empty
    "capacity.free_disk",  # compared with what is free
    "capacity.free_memory",
    "capacity.min_idle",  # tests/unit/control/environments/test_capacity.py: any time is longer
    "defaults.drain_timeout",  # as for one application
    "defaults.public_logs",
    "defaults.stop_grace_period",
    "forks.images",  # none is allowed
    "forks.builder_idle_timeout",  # the builder is stopped as soon as nothing is built
    "event_listeners",  # no listener: deliveries are ignored
    "github.comments",  # see `Settings.comments`
    "github.deployments",  # on or off
    "github.scope",  # asked for as it stands
    "github.statuses",
    "haproxy.reload_command",  # as nginx's
    "haproxy.test_command",
    "images.shop.services.shop.depends_on",  # it waits for nothing
    "images.shop.services.shop.entrypoint",  # none, not the image's
    "images.shop.services.shop.stop_grace_period",
    "nginx.reload_command",  # tests/unit/settings/test_command.py, routers/nginx/commands.py: isn't run
    "nginx.test_command",
    "tls.acme.dns.wait",  # the record is everywhere at once
    "notify.urls",  # no notification
    "handlers.RequireVariables.names",  # nothing is required
}


def test_what_isnt_the_default_runs(tmp_path: Path) -> None:
    """All settings that take an empty value which isn't the default are looked at here."""
    others: set[str] = set()
    for trail, empty in CASES:
        settings, _ = loaded(tmp_path, trail, empty)
        if settings is None:
            continue
        value, path = value_at(settings, trail), ".".join(trail)
        if isinstance(value, BaseModel) or value == EVERY[trail].get_default(call_default_factory=True):
            continue
        if plain(value) in ("0", "false"):
            continue  # a text like any other
        if is_empty(value, empty):
            others.add(path)
            assert path not in RUNS or RUNS[path](settings), path

    assert others == RUNS.keys() | TAKEN_AS_THEY_ARE


def test_no_listener_is_none_with_a_local_forge_too(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text("images: {shop: {port: 80}}\nlocal_forge: /r\nevent_listeners: []")

    assert load(path, environ={}).settings.event_listeners == ()


def test_an_empty_variable_is_no_bound_of_the_ports(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text("{}")

    assert load(path, environ={"MIN_PORT": "", "MAX_PORT": ""}).settings.max_previews is None


@pytest.mark.parametrize("private", ["''", "[]", "{methods: []}", "{password: ''}"])
def test_an_empty_way_in_isnt_signing_in(tmp_path: Path, private: str) -> None:
    path = tmp_path / "config.yml"
    path.write_text(f"images: {{shop: {{port: 80, private: {private}}}}}")

    with pytest.raises(ConfigurationError, match=r"images\.shop\.private\S*: should "):
        load(path, environ={})


def test_public_is_public_where_the_default_is_private(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text("defaults: {private: true}\nimages: {shop: {port: 80, private: false}}")

    assert load(path, environ={}).settings.images["shop"].private is None
