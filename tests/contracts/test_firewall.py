"""What every firewall promises. Each test runs against the one in memory and against the root helper's, in
network namespaces of the test's own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import pytest

from stager.domain.environment import Instance, InstanceLabels, InstanceState
from stager.domain.errors import Retry
from stager.domain.profile import Egress, ProfileName
from stager.domain.source import Trust
from stager.engines.docker import HelperFirewall
from stager.engines.docker.network.pool import bridge_of
from stager.helper_client import HelperClient
from stager.ports.firewall import UNGUARDED, Blocked, Firewall
from stager.testing import FakeFirewall
from tests.contracts.engines import instance_labels
from tests.integration.namespaces import Helper, Namespace, join, needs_namespaces

INSTALLATION, NETWORK, HOST = "contract", "network-1", "198.51.100.1"


class Rig(Protocol):
    """A firewall under test, and what happens to it."""

    firewall: Firewall

    def leave(self) -> None:
        """Have it not answer."""

    def come_back(self) -> None:
        """Have it answer."""

    def try_it(self) -> None:
        """The instance in `NETWORK` tries to connect to a service of its machine."""


class FakeRig:
    def __init__(self) -> None:
        self._fake = FakeFirewall()
        self.firewall: Firewall = self._fake
        self.leave, self.come_back = self._fake.leave, self._fake.come_back

    def try_it(self) -> None:
        self._fake.block(Blocked(instance_labels().environment, HOST, 80, "tcp", 1, datetime.now(UTC)))


class HelperRig:
    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        host, self._guest = Namespace(), Namespace()
        stack.callback(host.close)
        stack.callback(self._guest.close)
        bridge = bridge_of(INSTALLATION, NETWORK, ProfileName.STANDARD)
        join(host, self._guest, bridge, {f"{HOST}/24": "198.51.100.2/24"})
        self._helper = Helper(folder, host.enter, "--chains=STAGER-C")
        self._helper.start()
        stack.callback(self._helper.stop)
        client = HelperClient(self._helper.socket)
        self.firewall: Firewall = HelperFirewall(client, INSTALLATION, lambda: (443,), lambda *_: Egress())

    def leave(self) -> None:
        self._helper.stop()

    def come_back(self) -> None:
        self._helper.start()

    def try_it(self) -> None:
        assert not self._guest.reaches(HOST, 80)


@pytest.fixture(params=["memory", pytest.param("helper", marks=needs_namespaces)])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with contextlib.ExitStack() as stack:
        yield FakeRig() if request.param == "memory" else HelperRig(tmp_path, stack)


@pytest.fixture
def firewall(rig: Rig) -> Firewall:
    return rig.firewall


def there(born: InstanceLabels) -> tuple[Instance, InstanceLabels]:
    made = Instance(
        "c1", born.environment, born.service, born.deployment, 1, InstanceState.RUNNING, network=NETWORK
    )
    return made, born


async def test_says_when_an_instance_is_guarded(firewall: Firewall) -> None:
    await firewall.guard(NETWORK, instance_labels())
    await firewall.guard(NETWORK, instance_labels())
    await firewall.renew([there(instance_labels())])
    await firewall.renew([])


async def test_while_it_doesnt_answer_no_instance_is_guarded(rig: Rig, firewall: Firewall) -> None:
    await firewall.guard(NETWORK, instance_labels())
    rig.leave()
    with pytest.raises(Retry) as unguarded:
        await firewall.guard(NETWORK, instance_labels())
    assert unguarded.value.reason == UNGUARDED
    with pytest.raises(Retry):
        await firewall.renew([there(instance_labels())])
    with pytest.raises(Retry):
        await firewall.blocked()
    rig.come_back()
    await firewall.guard(NETWORK, instance_labels())


async def test_lists_blocked_connections_of_known_instances(rig: Rig, firewall: Firewall) -> None:
    await firewall.renew(
        [there(replace(instance_labels("e2"), trust=Trust.FORK, profile=ProfileName.RESTRICTED))]
    )
    rig.try_it()
    assert await firewall.blocked() == []
    await firewall.guard(NETWORK, instance_labels())
    for _ in range(100):
        if found := await firewall.blocked():
            break
        await asyncio.sleep(0.05)
    [blocked] = found
    facts = (blocked.environment, blocked.address, blocked.port, blocked.protocol, blocked.count)
    assert facts == (instance_labels().environment, HOST, 80, "tcp", 1)
    assert abs((datetime.now(UTC) - blocked.last).total_seconds()) < 30
