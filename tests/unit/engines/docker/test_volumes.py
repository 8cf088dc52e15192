"""What the beginning of a folder's archive shows; tests/contracts/test_confinement.py has real ones."""

from __future__ import annotations

import io
import tarfile

import pytest

from stager.engines.docker.volumes import FIRST_ENTRIES, _options


def archive(*entries: tuple[str, bytes, int], uid: int = 0, size: int = 0) -> bytes:
    """An archive with these entries, of which each has a name, a type and a mode."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as written:
        for name, kind, mode in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.uid, entry.gid = kind, mode, uid, 5
            entry.size = size if kind == tarfile.REGTYPE else 0
            written.addfile(entry, io.BytesIO(bytes(entry.size)))
    return content.getvalue()


FOLDER = ("data/", tarfile.DIRTYPE, 0o2750)


@pytest.mark.parametrize("uid", [0, 1000, 4_000_000_000])
def test_the_owner_and_the_mode(uid: int) -> None:
    assert _options("/data", archive(FOLDER, uid=uid)) == f"uid={uid},gid=5,mode=2750"


def test_of_a_folder_with_something_large_in_it() -> None:
    content = archive(FOLDER, ("data/db", tarfile.REGTYPE, 0o600), size=4 * FIRST_ENTRIES)

    assert _options("/data", content[:FIRST_ENTRIES]) == "uid=0,gid=5,mode=2750"


@pytest.mark.parametrize("content", [b"", b"nonsense" * 200, archive(("data", tarfile.SYMTYPE, 0o777))])
def test_of_what_is_no_folder(content: bytes) -> None:
    assert _options("/data", content) == "mode=1777"
