"""The rows, one module each, in the order in which the page has them."""

from __future__ import annotations

from bench.row import Row
from bench.rows import crash, idle, launch, leftovers, proxy, refresh, routes, webhook

ROWS: tuple[Row, ...] = (
    launch.ROW,
    webhook.ROW,
    refresh.ROW,
    crash.ROW,
    proxy.ROW,
    routes.ROW,
    idle.ROW,
    leftovers.ROW,
)

NOT_YET = {
    "Waking a preview that sleeps, against unpausing by hand": "previews don't sleep yet",
    "What a sleeping preview costs": "previews don't sleep yet",
    "A request by HAProxy's fast path": "there is no router for HAProxy yet",
    "From a push to live with a warm build cache": "Stager doesn't build images yet",
    "20 changes at once": "for the same reason",
    "A resync of 1,000 open pull requests": "the row isn't written yet",
}
"""What has a budget, or will have one, and no row; each with why."""
