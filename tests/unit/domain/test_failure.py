"""The failure object: what it names, and what of it those see who may not read logs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stager.domain.attempt import Attempt, ServiceFailure
from stager.domain.deployment import Deployment
from stager.domain.diagnosis.causes import LONGEST_LINE, MOST_LINES, likely_cause
from stager.domain.diagnosis.stages import Stage
from stager.domain.errors import Kind, Outcome
from stager.domain.failure import failure_of
from stager.domain.source import Revision

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def deployment(outcome: Outcome | None, **fields: object) -> Deployment:
    attempt = Attempt(1, outcome=outcome, final=outcome is not None and outcome.kind == "fault")
    return Deployment("d1", "e1", Revision(), attempt, NOW, **fields)  # type: ignore[arg-type]


def outcome(
    reason: str, detail: str = "", *, kind: Kind = "fault", hint: str = "", service: str = ""
) -> Outcome:
    return Outcome(kind, reason, f"It is {reason}.", hint, detail, service)


class TestCauses:
    @pytest.mark.parametrize(
        ("line", "named", "change"),
        [
            ("KeyError: 'DATABASE_URL'", "`DATABASE_URL`", "`env`"),
            ("Error: environment variable SECRET_KEY_BASE is not set", "`SECRET_KEY_BASE`", "`secrets`"),
            ("STRIPE_KEY must be set in production", "`STRIPE_KEY`", "`.stager.yml`"),
            ("Missing required environment variable: API_TOKEN", "`API_TOKEN`", "`env`"),
            ('config.rb:3: key not found: "SMTP_HOST" (KeyError)', "`SMTP_HOST`", "`env`"),
            ("django.db.utils.OperationalError: no such table: auth_user", "`auth_user`", "after_launch"),
            ('psycopg.errors.UndefinedTable: relation "orders" does not exist', "`orders`", "after_launch"),
            ("ActiveRecord::PendingMigrationError (", "migrations", "after_launch"),
            ("[FATAL tini (7)] exec python failed: No such file or directory", "`python`", "Install it"),
            ("ModuleNotFoundError: No module named 'flask'", "`flask`", "Dockerfile"),
            ("Error: Cannot find module 'express'", "`express`", "Dockerfile"),
            (
                "FileNotFoundError: [Errno 2] No such file or directory: 'config/app.toml'",
                "`config/app.toml`",
                "COPY",
            ),
            ("Error: ENOENT: no such file or directory, open '/app/.env.json'", "`/app/.env.json`", "COPY"),
            (
                "python: can't open file '/app/main.py': [Errno 2] No such file or directory",
                "`/app/main.py`",
                "COPY",
            ),
            ("PermissionError: [Errno 13] Permission denied: '/data/x.db'", "`/data/x.db`", "chown"),
            ("OSError: [Errno 28] No space left on device", "disk is full", "`disk`"),
            ("FATAL ERROR: Reached heap limit - JavaScript heap out of memory", "memory", "`memory`"),
            ('could not translate host name "db" to address: Name or service not known', "`db`", "services"),
            ("Error: getaddrinfo ENOTFOUND redis", "`redis`", "services"),
            ("Error: connect ECONNREFUSED 127.0.0.1:5432", "`127.0.0.1:5432`", "localhost"),
            ("SyntaxError: invalid syntax", "invalid syntax", "Correct"),
            ("OSError: [Errno 98] Address already in use", "port", "foreground"),
        ],
    )
    def test_names_the_file_or_setting_and_the_change(self, line: str, named: str, change: str) -> None:
        cause = likely_cause(["Starting", line, "exited"])

        assert cause is not None
        assert named in cause.sentence
        assert change in cause.remedy

    def test_none_in_ordinary_lines(self) -> None:
        assert likely_cause(["Listening on 0.0.0.0:8000", "GET / 200", "Done."]) is None

    def test_reads_the_end_and_the_beginning_of_lines_only(self) -> None:
        old = ["KeyError: 'OLD_NAME'", *["fine"] * MOST_LINES]

        assert likely_cause(old) is None
        assert likely_cause(["x" * LONGEST_LINE + " KeyError: 'FAR_NAME'"]) is None

    @pytest.mark.parametrize("text", ["A" * 100_000, "set the " * 20_000, "'" * 100_000, "a.b/" * 30_000])
    def test_hostile_lines_find_nothing(self, text: str) -> None:
        assert likely_cause([text] * 1_000) is None


class TestFailure:
    def test_none_while_nothing_failed(self) -> None:
        assert failure_of(None) is None
        assert failure_of(deployment(None)) is None

    def test_says_what_where_why_and_what_to_do(self) -> None:
        failed = failure_of(
            deployment(
                outcome("exited", "boot\nKeyError: 'TOKEN_A'", hint="Check the last lines of its log. Or so.")
            )
        )

        assert failed is not None
        assert (failed.code, failed.stage, failed.retryable) == ("exited", Stage.STARTING, False)
        assert failed.cause == "The environment variable `TOKEN_A` isn't set."
        assert failed.hint.startswith("Set `TOKEN_A` under `env`")
        assert "Check the last lines" not in failed.hint
        assert failed.excerpt == ("boot", "KeyError: 'TOKEN_A'")

    def test_nothing_of_a_log_for_those_who_may_not_read_it(self) -> None:
        made = deployment(
            outcome("exited", "KeyError: 'TOKEN_A'", hint="Check it."), log="KeyError: 'TOKEN_A'"
        )
        failed = failure_of(made, with_log=False)

        assert failed is not None
        assert "TOKEN_A" not in repr(failed)
        assert failed.hint == "Check it."

    @pytest.mark.parametrize(
        ("reason", "stage"),
        [
            ("source-away", Stage.FETCHING),
            ("commit-missing", Stage.FETCHING),
            ("compose-refused", Stage.PREPARING),
            ("build-failed", Stage.BUILDING),
            ("unhealthy", Stage.STARTING),
        ],
    )
    def test_the_stage_by_the_reason(self, reason: str, stage: Stage) -> None:
        failed = failure_of(deployment(outcome(reason)))

        assert failed is not None
        assert failed.stage is stage

    def test_otherwise_how_far_it_came(self) -> None:
        checking = failure_of(deployment(outcome("unhealthy"), starting_at=NOW, checking_at=NOW))
        running = failure_of(deployment(outcome("crashed"), starting_at=NOW, checking_at=NOW, live_at=NOW))

        assert checking is not None
        assert checking.stage is Stage.CHECKING
        assert running is not None
        assert running.stage is Stage.RUNNING

    def test_what_is_tried_again_says_when(self) -> None:
        attempt = Attempt(
            1, failures=1, retry_at=NOW + timedelta(seconds=2), outcome=outcome("engine-away", kind="retry")
        )
        failed = failure_of(Deployment("d1", "e1", Revision(), attempt, NOW))

        assert failed is not None
        assert failed.retryable
        assert failed.retry_at == NOW + timedelta(seconds=2)

    def test_a_service_of_a_live_one(self) -> None:
        failures = {"worker": ServiceFailure(outcome=outcome("exited", "KeyError: 'QUEUE_URL'"))}
        attempt = Attempt(1, failed_services=failures)
        failed = failure_of(
            Deployment("d1", "e1", Revision(), attempt, NOW, live_at=NOW, log="of the main one")
        )

        assert failed is not None
        assert failed.service == "worker"
        assert "QUEUE_URL" in failed.cause
