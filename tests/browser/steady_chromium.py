#!/usr/bin/env python3
"""Runs Chromium without notifications about the machine's network interfaces.

Docker adds an interface for each container, and Chromium then aborts requests that are under way, with
`net::ERR_NETWORK_CHANGED`. It has no option for that. It lists interfaces by netlink, so a seccomp filter
refuses sockets of this family, as on a kernel without it; Chromium then assumes a network that never changes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import shutil
import socket
import struct
import sys

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2  # prctl(2)
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h: 32 bits, absolute; constants
ALLOW, FAIL = 0x7FFF0000, 0x00050000  # linux/seccomp.h
NUMBER_AT, FIRST_ARGUMENT_AT = 0, 16  # offsets in struct seccomp_data
SOCKET_NUMBERS = {"x86_64": 41, "aarch64": 198}
"""The numbers of the system call `socket`."""


def refuse_netlink() -> None:
    """Let `socket` fail for netlink, in this process and its children.

    Raises:
        OSError: the kernel doesn't accept the filter.
    """
    instructions = [
        (LOAD, 0, 0, NUMBER_AT),
        (JUMP_IF_EQUAL, 0, 3, SOCKET_NUMBERS[platform.machine()]),
        (LOAD, 0, 0, FIRST_ARGUMENT_AT),
        (JUMP_IF_EQUAL, 0, 1, int(socket.AF_NETLINK)),
        (RETURN, 0, 0, FAIL | errno.EAFNOSUPPORT),
        (RETURN, 0, 0, ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in instructions))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(instructions), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*arguments):
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    if PROGRAM is None:
        sys.exit("there is no Chromium")
    if platform.machine() in SOCKET_NUMBERS:
        refuse_netlink()
    os.execv(PROGRAM, [PROGRAM, *sys.argv[1:]])
