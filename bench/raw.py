"""Stores raw figures, one file per row, with the machine that they were measured on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import machine

RESULTS = Path(__file__).parent / "results"


def keep(row: str, figures: Mapping[str, Any], folder: Path = RESULTS) -> None:
    """Store a row's figures; they replace those of an earlier run."""
    facts = _lines({"row": row, **machine.facts()}, " ")
    text = f'{{\n{facts},\n "figures": {{\n{_lines(figures, "  ")}\n }}\n}}\n'
    (folder / f"{row}.json").write_text(text)


def kept(row: str, folder: Path = RESULTS) -> dict[str, Any] | None:
    """The figures stored by `keep`; None if the row was never measured."""
    path = folder / f"{row}.json"
    return dict(json.loads(path.read_text())) if path.exists() else None


def _lines(values: Mapping[str, Any], indent: str) -> str:
    """JSON with one value per line, for readable diffs."""
    return ",\n".join(f"{indent}{json.dumps(key)}: {json.dumps(value)}" for key, value in values.items())
