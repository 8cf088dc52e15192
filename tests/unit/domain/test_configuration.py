"""What changed between the configurations of two deployments."""

from __future__ import annotations

from dataclasses import replace

from stager.domain.configuration import (
    Configuration,
    Difference,
    ServiceConfiguration,
    Source,
    VariableRecord,
    VolumeRecord,
    differences,
    settings_of,
)

WEB = ServiceConfiguration("web", is_main=True, dockerfile="Dockerfile", port=3000, memory=256 << 20)
OF_WEB = Configuration((WEB,), "trusted", "the internet")


def variable(
    name: str, value: str = "", *, source: Source = Source.CONFIGURATION, mark: str = ""
) -> VariableRecord:
    return VariableRecord(name, source, value, is_secret=not value, mark=mark or value)


def with_variables(*variables: VariableRecord) -> Configuration:
    return replace(OF_WEB, services=(replace(WEB, variables=variables),))


def test_nothing_changed() -> None:
    assert differences(OF_WEB, OF_WEB) == ()


def test_settings() -> None:
    now = replace(OF_WEB, services=(replace(WEB, port=8080, command=("./serve",)),), egress="nowhere")
    assert differences(OF_WEB, now) == (
        Difference("", "egress", "the internet", "nowhere", "changed"),
        Difference("web", "command", "", "./serve", "added"),
        Difference("web", "port", "3000", "8080", "changed"),
    )


def test_variables_but_not_those_of_stager() -> None:
    before = with_variables(
        variable("A", "1"), variable("B", "1"), variable("STAGER_SHA", "a1", source=Source.STAGER)
    )
    after = with_variables(
        variable("A", "2"), variable("C", "3"), variable("STAGER_SHA", "b2", source=Source.STAGER)
    )
    assert differences(before, after) == (
        Difference("web", "variable A", "1", "2", "changed"),
        Difference("web", "variable C", "", "3", "added"),
        Difference("web", "variable B", "1", "", "removed"),
    )


def test_a_secret_is_changed_without_its_value() -> None:
    before, after = with_variables(variable("KEY", mark="11")), with_variables(variable("KEY", mark="22"))
    assert differences(before, after) == (Difference("web", "variable KEY", "", "", "changed"),)
    assert differences(before, before) == ()


def test_services() -> None:
    db = ServiceConfiguration("db", image="postgres:16")
    assert differences(OF_WEB, replace(OF_WEB, services=(WEB, db))) == (
        Difference("db", "service", "", "", "added"),
    )
    assert differences(replace(OF_WEB, services=(WEB, db)), OF_WEB) == (
        Difference("db", "service", "", "", "removed"),
    )


def test_only_what_is_set_is_a_setting() -> None:
    assert settings_of(WEB) == {"Dockerfile": "Dockerfile", "port": "3000", "memory": "256 MiB"}


def test_volumes_in_words() -> None:
    assert str(VolumeRecord("/data", "data", policy="keep")) == "data at /data (keep)"
    assert str(VolumeRecord("/etc/x", content="x.conf", is_read_only=True)) == "x.conf at /etc/x (read-only)"
    assert str(VolumeRecord("/tmp/y")) == "a volume of its own at /tmp/y"
