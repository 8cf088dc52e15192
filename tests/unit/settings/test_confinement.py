"""Create parameters that weaken the isolation of a container, or that Stager sets itself."""

from __future__ import annotations

import pytest

from stager.settings.sections.create_params import OURS, WEAKENING
from tests.unit.settings.conftest import LoadText, ProblemsOf


def with_parameters(parameters: str, more: str = "") -> str:
    return f"images: {{shop: {{port: 80, {more} container_create_params: {parameters}}}}}"


@pytest.mark.requirement("R43")
def test_harmless_parameters_pass(load_text: LoadText) -> None:
    text = with_parameters("{Tty: true, Hostname: x, Volumes: {/data: {}}, HostConfig: {ShmSize: 64000000}}")
    assert load_text(text).settings.images["shop"].container_create_params == {
        "Tty": True,
        "Hostname": "x",
        "Volumes": {"/data": {}},
        "HostConfig": {"ShmSize": 64_000_000},
    }


@pytest.mark.requirement("R126")
@pytest.mark.parametrize("name", WEAKENING)
@pytest.mark.parametrize("shape", ["{%s: x}", "{HostConfig: {%s: x}}"])
def test_breaking_out_must_be_allowed_by_name(
    problems_of: ProblemsOf, load_text: LoadText, name: str, shape: str
) -> None:
    (problem,) = problems_of(with_parameters(shape % name))
    assert problem.endswith(f"to permit it, add {name} to `allow_create_params`")

    allowed = load_text(with_parameters(shape % name, f"allow_create_params: [{name}],"))
    assert any(name in warning for warning in allowed.warnings)


@pytest.mark.requirement("R126")
@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("shape", ["{%s: x}", "{HostConfig: {%s: x}}"])
def test_what_stager_decides_can_not_be_given(problems_of: ProblemsOf, name: str, shape: str) -> None:
    (problem,) = problems_of(with_parameters(shape % name))
    assert "can't be given" in problem


@pytest.mark.requirement("R126")
@pytest.mark.parametrize("name", ["privileged", "PRIVILEGED", "bindſ", "Lin\u212as", "cmd"])
def test_the_engine_s_disregard_of_case_opens_no_door(problems_of: ProblemsOf, name: str) -> None:
    assert len(problems_of(with_parameters(f"{{HostConfig: {{{name}: x}}}}"))) == 1


def test_host_config_has_one_spelling(problems_of: ProblemsOf) -> None:
    assert problems_of(with_parameters("{hostconfig: {Privileged: true}}")) == [
        "images.shop.container_create_params.hostconfig: should be written HostConfig",
        "images.shop.container_create_params.hostconfig.Privileged: weakens the container's isolation; "
        "to permit it, add Privileged to `allow_create_params`",
    ]


def test_host_config_is_a_mapping(problems_of: ProblemsOf) -> None:
    assert problems_of(with_parameters("{HostConfig: [Privileged]}")) == [
        "images.shop.container_create_params.HostConfig: should be a mapping"
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Bind", '"Bind" isn\'t a parameter that needs permission; did you mean "Binds"?'),
        ("Tty", '"Tty" isn\'t a parameter that needs permission; other parameters need no permission'),
        ("Image", '"Image" can\'t be allowed; use `image`'),
    ],
)
def test_allowing_what_need_not_or_can_not_be_allowed(
    problems_of: ProblemsOf, name: str, message: str
) -> None:
    text = f"images: {{shop: {{port: 80, allow_create_params: [Binds, {name}]}}}}"
    assert problems_of(text) == [f"images.shop.allow_create_params[1]: {message}"]
