"""The API against its own description: schemathesis asks what the description allows, and what it doesn't. No
answer is our own bug (5xx), and each has a status, a type and a shape that the description has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import given
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from stager.control.control_plane import ControlPlane
from stager.web.app import create_app
from stager.web.context import WebContext
from tests.length import length
from tests.unit.cli.client.served import Served, served
from tests.unit.web.harness import basic

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module", name="stager")
def running() -> Iterator[Served]:
    with served() as stager:
        yield stager


SCHEMA = schemathesis.openapi.from_dict(
    create_app(cast("ControlPlane", object()), cast("WebContext", object())).openapi()
)
OPERATIONS: list[Any] = [found.ok() for found in SCHEMA.get_all_operations()]  # type: ignore[union-attr]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
@pytest.mark.parametrize("mode", schemathesis.GenerationMode, ids=lambda mode: mode.value)
def test_it_keeps_to_its_description(
    stager: Served, operation: Any, mode: schemathesis.GenerationMode
) -> None:
    cases = operation.as_strategy(generation_mode=mode)

    @given(case=cases)
    @length(15)
    def ask(case: Any) -> None:
        case.call_and_validate(base_url=stager.url, headers=basic("ann", "pa:ss"), checks=CHECKS, timeout=20)

    try:
        ask()
    except Unsatisfiable:  # it takes nothing, so that there is nothing to get wrong
        assert mode is schemathesis.GenerationMode.NEGATIVE
