"""When certificates are ordered and renewed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stager.domain.certificate import (
    Certificate,
    OrderFailure,
    is_certifiable,
    is_due,
    lacking,
    names_for,
)

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NAME = "shop.demo.example.org"


def certificate(age: timedelta, lifetime: timedelta = 90 * DAY) -> Certificate:
    return Certificate(NAME, NOW - age, NOW - age + lifetime)


class TestDue:
    def test_a_missing_certificate_is(self) -> None:
        assert is_due(None, None, [], NOW, 40)

    @pytest.mark.parametrize(("age", "expected"), [(59 * DAY, False), (60 * DAY, True), (100 * DAY, True)])
    def test_an_old_one_is_after_two_thirds_of_its_lifetime(self, age: timedelta, expected: bool) -> None:
        assert is_due(certificate(age), None, [], NOW, 40) is expected

    def test_short_lifetimes_count_as_well(self) -> None:
        assert is_due(certificate(4 * DAY, 6 * DAY), None, [], NOW, 40)

    def test_the_limit_counts_new_ones_of_seven_days(self) -> None:
        recent, old = [NOW - 6 * DAY] * 39, [NOW - 8 * DAY] * 5
        assert is_due(None, None, recent + old, NOW, 40)
        assert not is_due(None, None, [*recent, NOW], NOW, 40)

    def test_a_renewal_isnt_limited(self) -> None:
        assert is_due(certificate(80 * DAY), None, [NOW] * 100, NOW, 40)

    def test_after_a_failure_it_waits(self) -> None:
        failure = OrderFailure(1, NOW - timedelta(minutes=14), "It failed.")
        assert not is_due(None, failure, [], NOW, 40)
        assert is_due(None, failure, [], NOW + timedelta(minutes=1), 40)

    def test_a_failure_far_in_the_future_doesnt_count(self) -> None:
        """It is from a time when the clock was wrong."""
        assert is_due(None, OrderFailure(1, NOW + 365 * DAY, "It failed."), [], NOW, 40)
        assert not is_due(None, OrderFailure(1, NOW + timedelta(seconds=1), "It failed."), [], NOW, 40)

    def test_there_are_at_most_five_failures_in_an_hour(self) -> None:
        """The limit of Let's Encrypt for failed validations of a name."""
        orders: list[datetime] = []
        at, count = NOW, 0
        while at < NOW + DAY:
            if is_due(None, OrderFailure(count, orders[-1], "") if orders else None, [], at, 40):
                orders.append(at)
                count += 1
            at += timedelta(minutes=1)
        assert max(sum(begin <= each < begin + HOUR for each in orders) for begin in orders) <= 5
        assert len(orders) >= 6

    def test_the_wait_is_at_most_a_day(self) -> None:
        assert OrderFailure(5000, NOW, "").retry_at == NOW + DAY


class TestNames:
    def test_one_wildcard_covers_all_previews(self) -> None:
        hosts = ["a.demo.example.org", "admin--a.demo.example.org"]
        assert names_for("demo.example.org", "demo.example.org", hosts) == [
            "demo.example.org",
            "*.demo.example.org",
        ]

    def test_a_home_below_the_domain_is_covered_too(self) -> None:
        assert names_for("stager.example.org", "example.org", []) == ["*.example.org"]

    def test_deeper_hosts_need_their_own_wildcard(self) -> None:
        names = names_for("stager.example.com", "demo.example.org", ["a.shop.demo.example.org"])
        assert names == ["stager.example.com", "*.demo.example.org", "*.shop.demo.example.org"]

    @pytest.mark.parametrize("name", ["shop.example.org", "*.example.org", "xn--bcher-kva.example"])
    def test_public_names(self, name: str) -> None:
        assert is_certifiable(name)

    @pytest.mark.parametrize(
        "name",
        ["localhost", "a.localhost", "*.localhost", "10.0.0.1", "::1", "stager", "nas.local", "x.internal"],
    )
    def test_names_without_a_public_certificate(self, name: str) -> None:
        assert not is_certifiable(name)


def test_lacking_names_are_those_that_failed_without_a_valid_certificate() -> None:
    failure = OrderFailure(1, NOW, "It failed.")
    valid, expired = certificate(60 * DAY), certificate(100 * DAY)
    assert lacking([NAME], {}, {}, NOW) == {}
    assert lacking([NAME], {NAME: valid}, {NAME: failure}, NOW) == {}
    assert lacking([NAME], {NAME: expired}, {NAME: failure}, NOW) == {NAME: failure}
    assert lacking([NAME], {}, {NAME: failure}, NOW) == {NAME: failure}
