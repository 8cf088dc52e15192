"""Translates unexpected exceptions to a `StagerError`.

The exception's message isn't passed on: it may contain a secret or a path of this machine, and the error is
shown on public pages and in pull requests. The log has it, with the traceback.
"""

from __future__ import annotations

import errno
import tempfile

from stager.domain.errors import Fault, Retry, StagerError

INTERNAL_ERROR = "internal-error"
NO_TEMPORARY_FOLDER = "No usable temporary directory"
"""The beginning of the message of `tempfile.gettempdir`, an OSError with ENOENT."""


def ending_of(error: Exception) -> StagerError:
    """Translate an exception: a `StagerError` to itself, a known OSError to an error with a hint, any other
    to a `Retry` with the reason `internal-error`."""
    if isinstance(error, StagerError):
        return error
    known = _of_machine(error) if isinstance(error, OSError) else None
    return known or Retry(
        f"Internal error ({type(error).__name__}).",
        hint="Stager's log has the traceback. Please report it.",
        reason=INTERNAL_ERROR,
    )


def _of_machine(error: OSError) -> StagerError | None:
    """The error for an errno that tells what is wrong with this machine or with the input."""
    match error.errno:
        case errno.E2BIG:
            # execve(2): MAX_ARG_STRLEN, 32 pages of 4 KiB, for each string; a quarter of the stack for all.
            return Fault(
                "A program can't be started: one of its secrets, environment variables or arguments is too"
                " large.",
                hint="Linux allows 128 KiB for each one. Shorten the value, or have the build fetch it.",
                reason="value-too-large",
            )
        case errno.ENOSPC | errno.EDQUOT:
            return Retry(
                "A disk that Stager writes to is full.",
                hint="Free space on the disks of `state_dir` and of the folder for temporary files.",
                reason="host-disk-full",
            )
        case errno.EMFILE | errno.ENFILE:
            return Retry(
                "Too many files and connections are open.",
                hint="Raise the limit of open files: `LimitNOFILE=` of the systemd unit, or `ulimit -n`.",
                reason="too-many-open-files",
            )
        case errno.ENOMEM:
            return Retry(
                "This machine has too little memory to start a program.",
                hint="Stop programs that aren't needed, or lower `builds.max_concurrent` and `max_previews`.",
                reason="host-out-of-memory",
            )
        case _ if _misses_temporary_folder(error):
            return Retry(
                "There is no folder for temporary files that Stager can write to.",
                hint="Free space in /tmp, or set TMPDIR to a folder that Stager's user may write to.",
                reason="no-temporary-folder",
            )
        case _:
            return None


def _misses_temporary_folder(error: OSError) -> bool:
    """Whether it concerns a file in the folder for temporary files that `tempfile` chose, or there is no such
    folder."""
    inside = tempfile.tempdir is not None and str(error.filename).startswith(f"{tempfile.tempdir}/")
    about_folder = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EROFS)
    return NO_TEMPORARY_FOLDER in str(error) or (inside and about_folder)
