"""When a preview is announced to expire, and when it does."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stager.domain.life import LONGEST_PAUSE, Expired, Gap, Notice, ObservedTime, in_words, judge
from tests.unit.domain.world import START

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
LIFE = 14 * DAY


def observed(*, until: timedelta, without: tuple[tuple[timedelta, timedelta], ...] = ()) -> ObservedTime:
    return ObservedTime(START + until, tuple(Gap(START + a, START + b) for a, b in without))


class Preview:
    """One preview that is looked at every five minutes, used at the start.

    Attributes:
        now: what the clock says.
        ended: when it expired, and when it was warned of that.
    """

    def __init__(self, life: timedelta = LIFE) -> None:
        self.now, self.used, self.life = START, START, life
        self.time = ObservedTime()
        self.notice: Notice | None = None
        self.warned: datetime | None = None
        self.ended: datetime | None = None

    def look(self) -> None:
        self.time = self.time.at(self.now)
        due = judge(self.used, self.life, self.notice, self.time, self.now)
        if isinstance(due, Expired):
            self.ended = self.ended or self.now
            return
        self.notice = due
        self.warned = due.since if due else None

    def runs(self, span: timedelta) -> None:
        end = self.now + span
        while self.now < end and self.ended is None:
            self.look()
            self.now = min(end, self.now + 5 * MINUTE)

    def jumps(self, span: timedelta) -> None:
        """The machine is off for so long, or the clock is set."""
        self.now += span


class TestPreview:
    def test_unused_it_is_warned_a_day_ahead_and_then_expires(self) -> None:
        preview = Preview()
        preview.runs(20 * DAY)
        assert preview.warned == START + 13 * DAY
        assert preview.ended == START + 14 * DAY

    def test_the_warning_says_when(self) -> None:
        preview = Preview()
        preview.runs(13 * DAY + HOUR)
        assert preview.notice == Notice(START + 13 * DAY, START + 14 * DAY)

    @pytest.mark.parametrize("at", [DAY, 13 * DAY + HOUR, 14 * DAY - 5 * MINUTE])
    def test_used_it_lives_as_long_again(self, at: timedelta) -> None:
        preview = Preview()
        preview.runs(at)
        preview.used = preview.now
        preview.runs(12 * DAY)
        assert (preview.ended, preview.notice) == (None, None)
        preview.runs(20 * DAY)
        assert preview.ended == START + at + 14 * DAY

    def test_a_short_life_has_half_of_it_for_the_warning(self) -> None:
        preview = Preview(2 * HOUR)
        preview.runs(DAY)
        assert (preview.warned, preview.ended) == (START + HOUR, START + 2 * HOUR)

    def test_a_month_in_which_the_machine_was_off_doesnt_count(self) -> None:
        preview = Preview()
        preview.runs(3 * DAY)
        preview.jumps(30 * DAY)
        preview.runs(9 * DAY)
        assert (preview.ended, preview.notice) == (None, None)
        preview.runs(20 * DAY)
        assert preview.ended is not None
        assert abs(preview.ended - (START + 44 * DAY)) <= 10 * MINUTE

    def test_time_before_the_first_look_doesnt_count(self) -> None:
        """As after an upgrade from a version that recorded no visits."""
        preview = Preview()
        preview.used = START - 60 * DAY
        preview.runs(12 * DAY)
        assert (preview.ended, preview.notice) == (None, None)
        preview.runs(3 * DAY)
        assert preview.ended == START + 14 * DAY

    def test_off_while_it_is_announced_people_still_have_the_day(self) -> None:
        preview = Preview()
        preview.runs(13 * DAY + HOUR)
        preview.jumps(7 * DAY)
        preview.runs(22 * HOUR)
        assert preview.ended is None
        preview.runs(2 * HOUR)
        assert preview.ended is not None

    def test_a_clock_that_is_set_ahead_and_back_expires_nothing(self) -> None:
        preview = Preview()
        preview.runs(2 * DAY)
        preview.jumps(400 * DAY)
        preview.runs(HOUR)
        preview.jumps(-400 * DAY)
        preview.runs(10 * DAY)
        assert (preview.ended, preview.notice) == (None, None)

    def test_a_clock_that_was_ahead_when_it_was_used(self) -> None:
        """A use in the future counts as now."""
        preview = Preview()
        preview.used = START + 30 * DAY
        preview.runs(29 * DAY)
        assert preview.ended is None

    def test_a_machine_that_is_off_every_night(self) -> None:
        preview = Preview(3 * DAY)
        for _ in range(5):
            preview.runs(8 * HOUR)
            preview.jumps(16 * HOUR)
        assert preview.ended is None
        for _ in range(6):
            preview.runs(8 * HOUR)
            preview.jumps(16 * HOUR)
        assert preview.ended is not None

    @given(
        st.lists(
            st.tuples(st.integers(-60 * 24 * 60, 60 * 24 * 60), st.integers(5, 3 * 24 * 60)),
            max_size=6,
        )
    )
    def test_whatever_the_clock_does_it_was_announced_for_a_day_in_which_stager_ran(
        self, steps: list[tuple[int, int]]
    ) -> None:
        preview = Preview(2 * DAY)
        ran = timedelta()
        warned_at: timedelta | None = None
        for jump, run in [*steps, (0, 4 * 24 * 60)]:
            preview.jumps(jump * MINUTE)
            for _ in range(run // 5):
                preview.look()
                if preview.ended is not None:
                    break
                warned_at = None if preview.notice is None else ran if warned_at is None else warned_at
                preview.now += 5 * MINUTE
                ran += 5 * MINUTE
        if preview.ended is not None:
            assert warned_at is not None
            assert ran - warned_at >= DAY - (len(steps) + 1) * LONGEST_PAUSE


class TestObservedTime:
    def test_gaps_arent_counted(self) -> None:
        time = observed(until=10 * DAY, without=((2 * DAY, 5 * DAY), (6 * DAY, 7 * DAY)))
        assert time.since(START) == 6 * DAY
        assert time.since(START + 3 * DAY) == 4 * DAY
        assert time.since(START + 8 * DAY) == 2 * DAY

    def test_the_future_counts_nothing(self) -> None:
        assert observed(until=DAY).since(START + 2 * DAY) == timedelta()
        assert ObservedTime().since(START) == timedelta()

    def test_a_short_pause_counts(self) -> None:
        time = ObservedTime().at(START).at(START + LONGEST_PAUSE)
        assert time.since(START) == LONGEST_PAUSE

    def test_after_the_clock_was_set_back_the_gap_ends_now(self) -> None:
        time = observed(until=10 * DAY, without=((2 * DAY, 9 * DAY),)).at(START + 3 * DAY)
        assert time.gaps == (Gap(START + 2 * DAY, START + 3 * DAY),)


@pytest.mark.parametrize(
    ("span", "words"),
    [(LIFE, "14 days"), (DAY, "1 day"), (36 * HOUR, "36 hours"), (90 * MINUTE, "90 minutes")],
)
def test_in_words(span: timedelta, words: str) -> None:
    assert in_words(span) == words
