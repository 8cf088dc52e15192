"""A body of Docker's create call becomes the task template of a service."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from stager.domain.errors import Fault
from stager.domain.profile import ProfileName
from stager.domain.source import Trust
from stager.engines.docker import labels, seccomp
from stager.engines.docker.create_parameters import create_body
from stager.engines.docker.network.pool import Lease
from stager.engines.swarm.specification import check_supported
from stager.engines.swarm.translation import task_template
from stager.ports.engine import Clone, Content
from tests.contracts.engines import LIMITS, instance_labels, spec_of, with_settings


def template(parameters: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    spec = with_settings(spec_of(instance_labels(), "image", ("run",), 3.0, parameters), **settings)
    body = create_body(spec, {}, Lease("network", ""), publish=False, seccomp_profile=seccomp.profile())
    return task_template(body)


def test_the_limits_are_those_of_the_profile_and_its_memory_is_reserved() -> None:
    resources = template()["Resources"]

    assert resources["Limits"] == {
        "MemoryBytes": LIMITS.memory,
        "NanoCPUs": int(LIMITS.cpus * 1_000_000_000),
        "Pids": LIMITS.pids,
    }
    assert resources["Reservations"] == {"MemoryBytes": LIMITS.memory}


def test_the_process_is_confined_as_by_docker() -> None:
    container = template({"HostConfig": {"ReadonlyRootfs": True}})["ContainerSpec"]

    assert container["CapabilityDrop"] == ["NET_RAW", "MKNOD", "AUDIT_WRITE"]
    assert container["Privileges"] == {"NoNewPrivileges": True}
    assert {each["Name"] for each in container["Ulimits"]} == {"core", "nofile"}
    assert (container["Init"], container["ReadOnly"]) == (True, True)


def test_the_process_of_the_service() -> None:
    container = template(entrypoint=("sh", "-c"), user="7", working_dir="/w", stop_signal="SIGINT")[
        "ContainerSpec"
    ]

    assert (container["Command"], container["Args"]) == (["sh", "-c"], ["run"])
    assert (container["User"], container["Dir"], container["StopSignal"]) == ("7", "/w", "SIGINT")
    assert container["StopGracePeriod"] == 3_000_000_000


def test_swarm_runs_no_health_check() -> None:
    """It would end the task of a container that isn't healthy."""
    check = {"Test": ["CMD", "true"]}
    own, images = template({"Healthcheck": check})["ContainerSpec"], template()["ContainerSpec"]

    assert own["Healthcheck"] == images["Healthcheck"] == {"Test": ["NONE"]}
    assert json.loads(own["Labels"][labels.HEALTHCHECK]) == check
    assert images["Labels"][labels.HEALTHCHECK] == "image"


def test_hosts_and_name_servers() -> None:
    host = {"ExtraHosts": ["db.test:10.0.0.1", "v6.test:::1"], "Dns": ["10.0.0.2"]}
    container = template({"HostConfig": host})["ContainerSpec"]

    assert container["Hosts"] == ["10.0.0.1 db.test", "::1 v6.test"]
    assert container["DNSConfig"] == {"Nameservers": ["10.0.0.2"]}


def test_tmpfs_and_shared_memory_are_mounts() -> None:
    mounts = template({"HostConfig": {"Tmpfs": {"/run": "size=1024,mode=755"}}}, shared_memory=4096)[
        "ContainerSpec"
    ]["Mounts"]

    assert {mount["Target"]: mount["TmpfsOptions"] for mount in mounts} == {
        "/run": {"SizeBytes": 1024, "Mode": 0o755},
        "/dev/shm": {"SizeBytes": 4096},
    }


def test_a_tmpfs_of_another_user_is_open_to_all() -> None:
    [mount] = template({"HostConfig": {"Tmpfs": {"/data": "uid=999,gid=999,mode=700"}}})["ContainerSpec"][
        "Mounts"
    ]

    assert mount["TmpfsOptions"] == {"Mode": 0o1777}


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"HostConfig": {"Devices": [{"PathOnHost": "/dev/x"}]}}, "HostConfig.Devices"),
        ({"HostConfig": {"Privileged": True}}, "HostConfig.Privileged"),
        ({"HostConfig": {"Runtime": "runsc"}}, "HostConfig.Runtime"),
        ({"HostConfig": {"SecurityOpt": ["apparmor=x"]}}, "HostConfig.SecurityOpt"),
        ({"Domainname": "x"}, "Domainname"),
    ],
)
def test_what_swarm_cant_set_is_refused(parameters: dict[str, Any], name: str) -> None:
    with pytest.raises(Fault) as caught:
        template(parameters)

    assert caught.value.reason == "swarm-parameter"
    assert name in caught.value.message


def test_what_is_off_is_not_refused() -> None:
    assert template({"HostConfig": {"Privileged": False, "Devices": []}})


class TestSupported:
    def test_code_from_forks_is_refused(self) -> None:
        trusted = spec_of(instance_labels(), "image")
        fork = replace(trusted, labels=replace(trusted.labels, trust=Trust.FORK))
        restricted = replace(trusted, profile=replace(trusted.profile, name=ProfileName.RESTRICTED))

        check_supported(trusted)
        assert [reason_of(each) for each in (fork, restricted)] == ["untrusted-on-swarm"] * 2

    def test_clones_and_content_are_refused(self) -> None:
        spec = spec_of(instance_labels(), "image")

        assert reason_of(replace(spec, clones={"data": Clone("s1", "data")})) == "clone-on-swarm"
        assert reason_of(replace(spec, content=(Content("/etc/x", "d", b""),))) == "content-on-swarm"


def reason_of(spec: Any) -> str:
    with pytest.raises(Fault) as caught:
        check_supported(spec)
    return caught.value.reason
