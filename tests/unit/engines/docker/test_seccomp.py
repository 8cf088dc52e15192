"""The seccomp profile, by its own account; tests/contracts/test_confinement.py tries it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from stager.engines.docker.seccomp import BY_CAPABILITY, BY_MACHINE, CALLS, DEBUGGING, profile

NUMBERS = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
RULED = "socket socketpair personality clone clone3 io_uring_setup io_uring_enter io_uring_register"
REFUSED = """
    _sysctl add_key afs_syscall create_module get_kernel_syms getpmsg kexec_file_load kexec_load keyctl
    migrate_pages move_pages nfsservctl pivot_root putpmsg query_module request_key security swapoff swapon
    sysfs tuxcall uselib userfaultfd ustat vserver
"""
"""Not for anybody: the kernel's own upkeep, keys that all containers share, what is long gone, and pages of
other nodes' memory."""


def always() -> set[str]:
    return {name for names in CALLS.values() for name in names.split()}


def test_no_call_stands_twice() -> None:
    named = [name for names in CALLS.values() for name in names.split()]

    assert sorted(named) == sorted(set(named))


def test_what_opens_the_machine_takes_a_capability() -> None:
    guarded = {name for names in BY_CAPABILITY.values() for name in names.split()}

    assert not guarded & always()
    assert not set(f"{RULED} {REFUSED} {DEBUGGING}".split()) & always()


@pytest.mark.skipif(not NUMBERS.exists(), reason="the kernel's headers aren't here")
def test_every_call_of_this_kernel_is_decided_on() -> None:
    there = set(re.findall(r"__NR_(\w+)", NUMBERS.read_text()))
    conditional = {
        n for group in (BY_CAPABILITY, BY_MACHINE) for names in group.values() for n in names.split()
    }
    decided = always() | conditional | set(f"{RULED} {REFUSED} {DEBUGGING}".split())

    assert there - decided == set()


def test_the_rest_is_refused() -> None:
    told = json.loads(profile())

    assert told["defaultAction"] == "SCMP_ACT_ERRNO"
    sockets = [rule["args"][0]["value"] for rule in told["syscalls"] if "socket" in rule["names"]]
    assert 40 not in sockets
    assert sockets == [1, 2, 10, 16, 17]
