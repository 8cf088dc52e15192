"""The signing key of the front and the control plane."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stager.front.process.signing_key import load_key


def test_is_created_once_and_unreadable_for_others(tmp_path: Path) -> None:
    key = load_key(tmp_path)
    assert len(key) == 32
    assert load_key(tmp_path) == key
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_is_the_same_for_concurrent_callers(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(load_key, [tmp_path] * 64))
    assert len(keys) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_is_never_half_a_key(tmp_path: Path) -> None:
    (tmp_path / "access.key").write_bytes(b"short")
    with pytest.raises(OSError, match="isn't a key"):
        load_key(tmp_path)
