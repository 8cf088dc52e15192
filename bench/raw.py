"""Keeps the raw figures: a file a row, with what they were taken on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import machine

RESULTS = Path(__file__).parent / "results"


def keep(row: str, figures: Mapping[str, Any], folder: Path = RESULTS) -> None:
    """Write a row's figures, in place of those of an earlier run."""
    facts = _lines({"row": row, **machine.facts()}, " ")
    text = f'{{\n{facts},\n "figures": {{\n{_lines(figures, "  ")}\n }}\n}}\n'
    (folder / f"{row}.json").write_text(text)


def kept(row: str, folder: Path = RESULTS) -> dict[str, Any] | None:
    """What `keep` wrote; None when that row was never measured."""
    path = folder / f"{row}.json"
    return dict(json.loads(path.read_text())) if path.exists() else None


def _lines(values: Mapping[str, Any], indent: str) -> str:
    """A line a value, so that a change of figures is a change of lines."""
    return ",\n".join(f"{indent}{json.dumps(key)}: {json.dumps(value)}" for key, value in values.items())
