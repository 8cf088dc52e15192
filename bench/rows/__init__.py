"""The rows, one module each, in the order of the page."""

from __future__ import annotations

from bench.row import Row
from bench.rows import (
    activity,
    asleep,
    build,
    changes,
    cloned_pushes,
    clones,
    crash,
    dashboards,
    databases,
    idle,
    launch,
    leftovers,
    pictures,
    proxy,
    refresh,
    resync,
    routes,
    services,
    thousand,
    up,
    wake,
    webhook,
)

ROWS: tuple[Row, ...] = (
    launch.ROW,
    build.ROW,
    up.ROW,
    changes.ROW,
    services.ROW,
    databases.ROW,
    clones.ROW,
    cloned_pushes.ROW,
    webhook.ROW,
    refresh.ROW,
    crash.ROW,
    proxy.ROW,
    activity.ROW,
    routes.ROW,
    wake.ROW,
    asleep.ROW,
    idle.ROW,
    thousand.ROW,
    dashboards.ROW,
    pictures.ROW,
    resync.ROW,
    leftovers.ROW,
)

NOT_YET: dict[str, str] = {}
"""What has a budget, or will have one, and no row; each with why."""
