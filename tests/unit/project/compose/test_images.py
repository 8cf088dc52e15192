"""The kind of an image by its name."""

from __future__ import annotations

import pytest

from stager.project.compose.images import kind_of, page_of


@pytest.mark.parametrize(
    ("image", "kind", "page"),
    [
        ("postgres:16", "store", None),
        ("docker.io/bitnami/PostgreSQL@sha256:0a", "store", None),
        ("registry.example.org:5000/library/rabbitmq:3-management", "store", 15672),
        ("axllent/mailpit", "tool", 8025),
        ("mcr.microsoft.com/mssql/server:2022-latest", "store", None),
        ("acme/server", "", None),
        ("browserless/chrome", "store", None),
        ("temporalio/ui:2", "tool", None),
        ("acme/ui", "", None),
        ("jaegertracing/all-in-one:1", "tool", None),
        ("acme/all-in-one", "", None),
        ("acme/shop", "", None),
    ],
)
def test_kind_and_page(image: str, kind: str, page: int | None) -> None:
    assert (kind_of(image), page_of(image)) == (kind, page)
