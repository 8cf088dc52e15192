"""An application's limits hold for the sum of its services."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stager.domain.errors import Fault
from stager.domain.profile import Limits
from stager.domain.service import MIB, MIN_CPUS, MIN_MEMORY, ServiceSpec, share_limits

LIMITS = Limits(512 * MIB, 1.0, 256, 10 * MIB)


def test_a_single_service_gets_all_of_it() -> None:
    assert share_limits(LIMITS, [ServiceSpec("web")]) == {"web": LIMITS}


def test_what_is_declared_is_given_and_the_rest_is_divided_evenly() -> None:
    found = share_limits(
        LIMITS, [ServiceSpec("web"), ServiceSpec("db", memory=112 * MIB, cpus=0.4), ServiceSpec("worker")]
    )
    assert {name: each.memory // MIB for name, each in found.items()} == {
        "web": 200,
        "db": 112,
        "worker": 200,
    }
    assert {name: each.cpus for name, each in found.items()} == {"web": 0.3, "db": 0.4, "worker": 0.3}
    assert {each.pids for each in found.values()} == {85}


def test_cores_that_nobody_declares_can_be_used_by_each_of_the_others() -> None:
    services = [ServiceSpec("web"), ServiceSpec("db", cpus=0.4), ServiceSpec("worker")]
    found = share_limits(LIMITS, services, divides_cpus=False)
    assert {name: each.cpus for name, each in found.items()} == {"web": 0.6, "db": 0.4, "worker": 0.6}
    assert sum(each.memory for each in found.values()) <= LIMITS.memory


def test_declared_cores_never_exceed_the_limit() -> None:
    with pytest.raises(Fault, match="more than the application's `cpus` of 1"):
        share_limits(LIMITS, [ServiceSpec("web"), ServiceSpec("db", cpus=1.0)], divides_cpus=False)


@pytest.mark.parametrize(
    ("services", "texts"),
    [
        ([ServiceSpec("db", memory=600 * MIB)], ["`memory` of 512 MiB", "db 600 MiB", "600 MiB in total"]),
        (
            [ServiceSpec("web"), ServiceSpec("db", memory=500 * MIB)],
            ["`memory` of 512 MiB", "db 500 MiB", "other 1 need at least 32 MiB", "532 MiB in total"],
        ),
        ([ServiceSpec("web"), ServiceSpec("db", cpus=1.0)], ["`cpus` of 1:", "db 1 ", "1.05 in total"]),
        ([ServiceSpec(f"s{i}") for i in range(17)], ["none is declared", "544 MiB in total"]),
    ],
)
def test_too_much_is_refused_with_both_figures(services: list[ServiceSpec], texts: list[str]) -> None:
    with pytest.raises(Fault) as caught:
        share_limits(LIMITS, services)
    assert caught.value.reason == "limits-exceeded"
    assert all(text in caught.value.message for text in texts), caught.value.message
    assert "of the application in the configuration" in caught.value.hint


SHARES = st.lists(st.one_of(st.none(), st.integers(6 * MIB, 300 * MIB)), min_size=1, max_size=20)


@given(SHARES, st.lists(st.one_of(st.none(), st.floats(0.01, 0.5)), min_size=20, max_size=20))
def test_the_sum_never_exceeds_the_limit(memory: list[int | None], cpus: list[float | None]) -> None:
    services = [ServiceSpec(str(i), memory=each, cpus=cpus[i]) for i, each in enumerate(memory)]
    try:
        found = share_limits(LIMITS, services)
    except Fault:
        needs = sum(MIN_MEMORY if each is None else each for each in memory)
        cores = sum(MIN_CPUS if each is None else each for each in cpus[: len(memory)])
        assert needs > LIMITS.memory or cores > LIMITS.cpus
        return
    assert sum(each.memory for each in found.values()) <= LIMITS.memory
    assert sum(each.cpus for each in found.values()) <= LIMITS.cpus + 1e-9
    assert sum(each.pids for each in found.values()) <= LIMITS.pids
    assert sum(each.log_size for each in found.values()) <= LIMITS.log_size
    assert all(each.memory >= MIN_MEMORY or services[int(n)].memory for n, each in found.items())
