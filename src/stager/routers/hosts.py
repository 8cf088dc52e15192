"""Host names in the configuration of a proxy."""

from __future__ import annotations

import re

SAFE = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?")
"""Hosts that are written to configuration files."""


def names_of(host: str, domain: str) -> tuple[str, str, str]:
    """Return slug, domain and short name of a host. The short name is the slug if the slug is unique."""
    slug = host.removesuffix(f".{domain}")
    if domain and slug != host:
        return slug, domain, slug
    label, _, base = host.partition(".")
    return label, base, host
