"""The section on how code from forks is built, and the application's own key of the same name."""

from __future__ import annotations

from pathlib import Path

import pytest

from stager.domain.profile import Destination
from stager.settings.loading.loader import load
from stager.settings.loading.problems import ConfigurationError
from stager.settings.sections.forks import Forks


def section(tmp_path: Path, text: str) -> Forks:
    file = tmp_path / "config.yml"
    file.write_text(text)
    return load(file, environ={}).settings.forks


def test_by_default_nothing_is_lent(tmp_path: Path) -> None:
    assert section(tmp_path, "") == Forks(base_images=(), registries=(), unsafe_shared_builder=False)


def test_all_of_it(tmp_path: Path) -> None:
    found = section(
        tmp_path,
        "forks: {base_images: ['stager-base/*:1', 'localhost:5000/a/b:x'], registries: ['10.0.0.1:5000'],"
        " max_image_size: 1g, builder_idle_timeout: 1h, unsafe_shared_builder: true}",
    )
    assert found.base_images == ("stager-base/*:1", "localhost:5000/a/b:x")
    assert found.registries == (Destination("10.0.0.1", 5000),)
    assert (found.max_image_size, found.builder_idle_timeout, found.unsafe_shared_builder) == (
        1 << 30,
        3_600,
        True,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "forks: off",
            "forks: should be a mapping with settings of the builder; whether an application's forks",
        ),
        ("forks: approve", "belongs under one of the `images`"),
        ("images: {a: {port: 1, forks: {base_images: []}}}", "belong under `forks` at the top of the file"),
        ("forks: {base_images: [static]}", "forks.base_images[0]: should be an image with its tag"),
        ("forks: {base_images: ['a b:1']}", "should be an image with its tag"),
        ("forks: {registries: ['http://x:1']}", "forks.registries[0]: should be host:port"),
        ("forks: {registries: ['x:0']}", "should be host:port"),
        ("forks: {registries: [a:1, b:1, c:1, d:1, e:1]}", "forks.registries"),
        ("forks: {registries: ['x:65536']}", "should be host:port"),
        ("forks: {unsafe: true}", "forks.unsafe: unknown key"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        section(tmp_path, text)
    assert said in str(refused.value)


@pytest.mark.parametrize("mode", ["approve", "open", "'off'"])
def test_an_application_s_own_key(tmp_path: Path, mode: str) -> None:
    assert section(tmp_path, f"images: {{a: {{port: 1, forks: {mode}}}}}") == Forks()
