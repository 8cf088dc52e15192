"""The output of server hooks, and which resource a deployment uses."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from stager.domain.errors import Fault
from stager.domain.external import (
    LONGEST_PAUSE,
    MAX_OUTPUT,
    MAX_VARIABLES,
    ExternalResource,
    ResourceState,
    ServerHooks,
    pause_after,
    read_output,
    resource_for,
)
from stager.domain.source import Trust


class TestOutput:
    def test_has_variables_and_secrets(self) -> None:
        output = read_output(b'{"variables": {"PGHOST": "db"}, "secrets": {"PGPASSWORD": "pwd-1"}}\n')

        assert output.all == {"PGHOST": "db", "PGPASSWORD": "pwd-1"}
        assert "pwd-1" not in repr(output)

    @pytest.mark.parametrize("output", [b"", b" \n", b"{}", b'{"variables": {}}'])
    def test_may_have_none(self, output: bytes) -> None:
        assert read_output(output).all == {}

    @pytest.mark.parametrize(
        ("output", "why"),
        [
            (b"done", "isn't JSON"),
            (b"\xff{}", "isn't JSON"),
            (b"{}{}", "isn't JSON"),
            (b"[" * 30_000, "isn't JSON"),
            (b'["PGHOST"]', "isn't a JSON object"),
            (b'{"PGHOST": "db"}', "the key 'PGHOST' is unknown"),
            (b'{"variables": ["PGHOST"]}', "`variables` isn't an object"),
            (b'{"secrets": null}', "`secrets` isn't an object"),
            (b'{"variables": {"PGPORT": 5432}}', "the value of PGPORT in `variables` isn't text"),
            (b'{"variables": {"PGHOST": "a\\u0000b"}}', "the value of PGHOST in `variables` isn't text"),
            (b'{"variables": {"PG-HOST": "db"}}', "'PG-HOST' in `variables` isn't a name"),
            (b'{"variables": {"A=B": "db"}}', "'A=B' in `variables` isn't a name"),
            (b'{"secrets": {"STAGER_URL": "db"}}', "STAGER_URL in `secrets` is a name of Stager's own"),
            (b'{"variables": {"A": "1"}, "secrets": {"A": "2"}}', "A is in `variables` and in `secrets`"),
            (b'{"variables": {"A": "' + b"x" * MAX_OUTPUT + b'"}}', "larger than 64 KiB"),
            (
                json.dumps({"variables": {f"A{i}": "" for i in range(MAX_VARIABLES + 1)}}).encode(),
                "more than 200 variables",
            ),
        ],
    )
    def test_is_refused_with_the_reason_and_without_values(self, output: bytes, why: str) -> None:
        with pytest.raises(Fault) as caught:
            read_output(output)

        assert caught.value.reason == "hook-output-invalid"
        assert why in caught.value.message


class TestResources:
    ONE = ExternalResource("r1", 1, ResourceState.READY)

    def test_a_deployment_uses_the_newest_that_is_not_being_removed(self) -> None:
        two = replace(self.ONE, id="r2", generation=3)

        assert resource_for([self.ONE, two], 4) == two
        assert resource_for([self.ONE, two], 2) == self.ONE
        assert resource_for([self.ONE, replace(two, state=ResourceState.REMOVING)], 4) == self.ONE
        assert resource_for([replace(self.ONE, state=ResourceState.REMOVING)], 4) is None

    def test_a_deployment_after_a_reset_uses_no_earlier_one(self) -> None:
        two = replace(self.ONE, id="r2", generation=3)

        assert resource_for([self.ONE], 3, epoch=3) is None
        assert resource_for([self.ONE, two], 4, epoch=3) == two
        assert resource_for([self.ONE, two], 2, epoch=3) == self.ONE

    def test_the_pause_between_tries_doubles_up_to_five_minutes(self) -> None:
        pauses = [pause_after(failures) for failures in (1, 2, 3, 9, 2_000)]

        assert pauses == [*(timedelta(seconds=s) for s in (2, 4, 8)), LONGEST_PAUSE, LONGEST_PAUSE]

    @pytest.mark.parametrize(("allowed", "trust", "runs"), [
        (False, Trust.TRUSTED, True), (False, Trust.FORK, False), (True, Trust.FORK, True),
    ])  # fmt: skip
    def test_hooks_run_for_untrusted_code_only_if_that_is_allowed(
        self, allowed: bool, trust: Trust, runs: bool
    ) -> None:
        assert ServerHooks(("create",), forks_allowed=allowed).run_for(trust) is runs
        assert not ServerHooks(forks_allowed=allowed).run_for(trust)
