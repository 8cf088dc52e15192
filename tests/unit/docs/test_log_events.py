"""The page of log events lists each event of the source, with its levels and fields."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.docs.log_events import Event, NotUnderstoodError, events, rows

EVENTS, ROWS = events(), rows()
UPDATE = "change the row in docs/reference/log-events.md, then run: python -m tests.unit.docs.log_events"

SAMPLE = """
import structlog

log = structlog.get_logger(__name__)


def work(app, error, is_silent):
    log.info("built", app=app)
    log.warning("built", error=error)
    log.warning("silent" if is_silent else "loud", app=app)
    bound = log.bind(app=app)
    bound.exception("work_failed", exc_info=error, step=1)
    log.info("audit", **error)
"""


def test_every_event_is_listed_and_every_listed_event_exists() -> None:
    assert sorted(ROWS) == sorted(EVENTS), UPDATE


@pytest.mark.parametrize("name", sorted(EVENTS.keys() & ROWS.keys()))
def test_has_its_levels_and_fields(name: str) -> None:
    if not EVENTS[name].is_open:
        assert (ROWS[name].levels, ROWS[name].fields) == EVENTS[name].columns(), UPDATE
    assert ROWS[name].meaning.endswith((".", ")."))


def test_events_are_read_from_the_source(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(SAMPLE)
    (tmp_path / "other.py").write_text("log.info('no structlog')")
    assert events(tmp_path) == {
        "built": Event(["info", "warning"], ["app", "error"]),
        "silent": Event(["warning"], ["app"]),
        "loud": Event(["warning"], ["app"]),
        "work_failed": Event(["error"], ["app", "step"]),
        "audit": Event(["info"], [], is_open=True),
    }


def test_an_event_without_a_literal_name_is_an_error(tmp_path: Path) -> None:
    text = 'import structlog\nlog = structlog.get_logger()\nlog.info(f"{1}_failed")\n'
    (tmp_path / "module.py").write_text(text)
    with pytest.raises(NotUnderstoodError, match=r"module\.py:3"):
        events(tmp_path)
