"""What Docker is asked for: ours, the administrator's, and what goes with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from stager.domain.application import Container
from stager.domain.environment import InstanceLabels
from stager.domain.profile import Egress, Limits, ProfileName, profile_of
from stager.domain.source import Revision, Trust
from stager.engines.docker.create_parameters import Storage, create_body
from stager.engines.docker.network.pool import Lease
from stager.ports.engine import InstanceSpec

LABELS = InstanceLabels(
    "e1",
    "web",
    "d1",
    1,
    "shop",
    "name:x",
    "x",
    "x.preview.test",
    Revision(),
    Trust.TRUSTED,
    ProfileName.STANDARD,
)
MEMORY = 512 << 20
NOFILE, CORE = {"Name": "nofile", "Soft": 16_384, "Hard": 16_384}, {"Name": "core", "Soft": 0, "Hard": 0}


def spec_of(parameters: Mapping[str, Any], **more: Any) -> InstanceSpec:
    """An instance with these parameters of the administrator's."""
    limits = Limits(memory=MEMORY, cpus=1.0, pids=10, log_size=1 << 20)
    profile = replace(profile_of(ProfileName.STANDARD, limits, Egress()), **more)
    return InstanceSpec(LABELS, "sha256:1", Container(port=3000, parameters=parameters), profile)


def host_of(given: Mapping[str, Any] | None = None, profile: str = "{}") -> dict[str, Any]:
    """`HostConfig` for these parameters of the administrator's in it."""
    parameters = {} if given is None else {"HostConfig": dict(given)}
    body = create_body(
        spec_of(parameters), {}, Lease("n1", "10.0.0.2"), publish=False, seccomp_profile=profile
    )
    host: dict[str, Any] = body["HostConfig"]
    return host


def test_what_every_instance_gets() -> None:
    host = host_of()

    assert host["SecurityOpt"] == ["no-new-privileges", "seccomp={}"]
    assert host["Ulimits"] == [CORE, NOFILE]
    assert host["Memory"] == host["MemorySwap"] == MEMORY


def test_what_the_profile_decides() -> None:
    """Its runtime and capabilities; the engine's own runtime where it names none."""
    lease = Lease("n1", "10.0.0.2")
    usual = create_body(spec_of({}), {}, lease, publish=False)["HostConfig"]
    sandboxed = spec_of({}, runtime="runsc", dropped_capabilities=("ALL",))
    strict = create_body(sandboxed, {}, lease, publish=False)["HostConfig"]

    assert "Runtime" not in usual
    assert usual["CapDrop"] == ["NET_RAW", "MKNOD", "AUDIT_WRITE"]
    assert (strict["Runtime"], strict["CapDrop"]) == ("runsc", ["ALL"])


@pytest.mark.parametrize("given", ["seccomp=unconfined", "seccomp:unconfined", "seccomp=/a.json"])
def test_a_profile_of_the_administrator_s_counts(given: str) -> None:
    assert host_of({"SecurityOpt": [given]})["SecurityOpt"] == [given]


@pytest.mark.parametrize("key", ["SecurityOpt", "securityopt", "SECURITYOPT"])
def test_other_options_leave_the_profile(key: str) -> None:
    host = host_of({key: ["apparmor=shop"]})

    assert host["SecurityOpt"] == ["apparmor=shop", "seccomp={}"]
    assert [name for name in host if name.lower() == "securityopt"] == ["SecurityOpt"]


def test_none_for_what_is_privileged() -> None:
    """Docker would apply it, where it leaves out its own."""
    assert host_of({"privileged": True})["SecurityOpt"] == ["no-new-privileges"]


def test_no_profile_where_the_engine_takes_none() -> None:
    assert host_of(profile="")["SecurityOpt"] == ["no-new-privileges"]


@pytest.mark.parametrize(
    ("given", "memory", "swap"),
    [
        ({"Memory": 1 << 30}, 1 << 30, 1 << 30),
        ({"memory": 1 << 30}, 1 << 30, 1 << 30),
        ({"MemorySwap": 1 << 31}, MEMORY, 1 << 31),
        ({"memoryswap": -1}, MEMORY, -1),
        ({"Memory": 0}, 0, None),
    ],
)
def test_memory_and_swap(given: Mapping[str, int], memory: int, swap: int | None) -> None:
    host = host_of(given)

    assert (host["Memory"], host.get("MemorySwap")) == (memory, swap)


@pytest.mark.parametrize(
    ("given", "swappiness"),
    [
        ({}, 0),
        ({"MemorySwappiness": 30}, 30),
        ({"memoryswappiness": 30}, 30),
        ({"MemorySwap": 1 << 31}, None),
        ({"Memory": 0}, None),
    ],
)
def test_what_has_no_swap_is_left_alone_by_the_kernel(
    given: Mapping[str, int], swappiness: int | None
) -> None:
    assert host_of(given).get("MemorySwappiness") == swappiness


def test_one_limit_of_the_administrator_s_leaves_the_others() -> None:
    mine = {"name": "core", "soft": -1, "hard": -1}

    assert host_of({"Ulimits": [mine]})["Ulimits"] == [mine, NOFILE]


class TestVolumes:
    """A tmpfs in the place of what an image declares."""

    @staticmethod
    def tmpfs(host: Mapping[str, Any], **top: Any) -> dict[str, str]:
        spec = spec_of({"HostConfig": dict(host), **top})
        volumes = {"/data": "uid=7,gid=8,mode=700", "/cache/": ""}
        body = create_body(spec, {}, Lease("n1", "10.0.0.2"), publish=False, storage=Storage(tmpfs=volumes))
        found: dict[str, str] = body["HostConfig"].get("Tmpfs", {})
        return found

    def test_of_half_the_memory(self) -> None:
        half = MEMORY // 2

        assert self.tmpfs({}) == {
            "/data": f"rw,exec,size={half},uid=7,gid=8,mode=700",
            "/cache/": f"rw,exec,size={half}",
        }
        assert f"size={1 << 20}" in self.tmpfs({"memory": 2 << 20})["/data"]
        assert f"size={half}" in self.tmpfs({"Memory": 0})["/data"]

    @pytest.mark.parametrize(
        ("host", "top"),
        [
            ({"Tmpfs": {"/data": "", "/cache": ""}}, {}),
            ({"tmpfs": {"/data/": ""}, "binds": ["/srv:/cache:ro"]}, {}),
            ({"Binds": ["a:/data", "/srv:/cache/:ro"]}, {}),
            ({"Tmpfs": {"//data": "", "/cache/x/..": ""}}, {}),
            ({"Mounts": [{"Type": "volume", "Target": "/data"}, {"type": "bind", "target": "/cache"}]}, {}),
            ({}, {"Volumes": {"/data": {}, "/cache": {}}}),
        ],
    )
    def test_not_where_the_administrator_mounts_something(
        self, host: Mapping[str, Any], top: Mapping[str, Any]
    ) -> None:
        given: dict[str, str] = next((value for key, value in host.items() if key.lower() == "tmpfs"), {})

        assert self.tmpfs(host, **top) == given

    def test_his_others_stay(self) -> None:
        assert self.tmpfs({"Tmpfs": {"/tmp": "size=1m"}}).keys() == {"/tmp", "/data", "/cache/"}
