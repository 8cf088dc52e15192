"""What becomes of exceptions that no driver expected."""

from __future__ import annotations

import errno
import tempfile

import pytest

from stager.domain.attempt import INTERNAL_ERRORS_ALLOWED, Attempt, after_error
from stager.domain.errors import Fault, Retry
from stager.domain.unexpected import INTERNAL_ERROR, NO_TEMPORARY_FOLDER, ending_of
from stager.testing.fakes.clock import START as NOW


@pytest.mark.parametrize(
    ("number", "kind", "reason"),
    [
        (errno.E2BIG, Fault, "value-too-large"),
        (errno.ENOSPC, Retry, "host-disk-full"),
        (errno.EDQUOT, Retry, "host-disk-full"),
        (errno.EMFILE, Retry, "too-many-open-files"),
        (errno.ENFILE, Retry, "too-many-open-files"),
        (errno.ENOMEM, Retry, "host-out-of-memory"),
        (errno.EPERM, Retry, INTERNAL_ERROR),
    ],
)
def test_the_operating_systems_errors(number: int, kind: type, reason: str) -> None:
    ending = ending_of(OSError(number, "words"))
    assert (type(ending), ending.reason) == (kind, reason)
    assert ending.hint


def test_no_folder_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        ending_of(FileNotFoundError(2, f"{NO_TEMPORARY_FOLDER} found in []")).reason == "no-temporary-folder"
    )
    monkeypatch.setattr(tempfile, "tempdir", "/somewhere/tmp")
    gone = FileNotFoundError(2, "No such file", "/somewhere/tmp/stager-build-1")
    other = FileNotFoundError(2, "No such file", "/somewhere/else")
    assert ending_of(gone).reason == "no-temporary-folder"
    assert ending_of(other).reason == INTERNAL_ERROR


def test_the_standard_librarys_words_are_these(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere/at/all"])
    with pytest.raises(FileNotFoundError) as caught:
        tempfile.gettempdir()
    assert ending_of(caught.value).reason == "no-temporary-folder"


@pytest.mark.parametrize("error", [ValueError("token=abc"), OSError(errno.EPERM, "no", "/etc/stager/abc")])
def test_what_an_exception_says_isnt_passed_on(error: Exception) -> None:
    ending = ending_of(error)
    assert "abc" not in f"{ending} {ending.detail}"
    assert type(error).__name__ in ending.message


def test_an_ending_stays_what_it_is() -> None:
    fault = Fault("Broken.", reason="broken")
    assert ending_of(fault) is fault


def test_an_internal_error_is_given_up_after_a_few_tries() -> None:
    attempt = Attempt(1)
    pauses = []
    for _ in range(INTERNAL_ERRORS_ALLOWED):
        attempt = after_error(attempt, ending_of(ValueError()), NOW)
        assert attempt.retry_at is not None
        pauses.append((attempt.retry_at - NOW).total_seconds())
    last = after_error(attempt, ending_of(ValueError()), NOW)
    assert pauses == [1, 2, 4]
    assert last.final
    assert last.retry_at is None


def test_an_engine_that_was_away_doesnt_count_for_it() -> None:
    attempt = Attempt(1)
    for _ in range(10):
        attempt = after_error(attempt, Retry("Away.", reason="engine-away"), NOW)
    assert not after_error(attempt, ending_of(ValueError()), NOW).final
    assert after_error(attempt, Retry("Away.", reason="engine-away"), NOW).failures == 11
