"""Every field has a column, and every column a field: nothing is dropped on the way to the database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from sqlalchemy import Table

from stager.stores.sqlite import rows, schema

KEPT_IN_THE_DATABASE = {"about", "seq", "received_at", "finished_at", "outcome"}
"""Columns of a delivery that transactions deal with, not rows."""


@pytest.mark.parametrize(
    ("row", "table", "besides"),
    [
        (rows.EnvironmentRow, schema.environments, {"seq"}),
        (rows.DeploymentRow, schema.deployments, set()),
        (rows.DeliveryRow, schema.deliveries, KEPT_IN_THE_DATABASE),
        (rows.ChangeRow, schema.changes, set()),
        (rows.RepositoryRow, schema.repositories, set()),
    ],
)
def test_fields_are_columns(row: type[NamedTuple], table: Table, besides: set[str]) -> None:
    assert {*row._fields, *besides} == {column.name for column in table.columns}


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
        datetime.min.replace(tzinfo=UTC),
    ],
)
def test_times_keep_their_microseconds(moment: datetime) -> None:
    assert rows.moment(rows.stamp(moment)) == moment


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        rows.stamp(datetime(2026, 3, 1, 12, 0))  # noqa: DTZ001 (the point of the test)
