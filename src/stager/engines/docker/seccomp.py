"""The system calls that instances may make: a seccomp profile in the form of Docker's own
(https://docs.docker.com/engine/security/seccomp/), which its API takes inline.

It is an allow-list: other calls are refused, also those of future kernels. The groups follow the sections of
syscalls(2); the calls that a capability allows are taken from capabilities(7). An instance has none of those
capabilities unless an administrator grants them by `CapAdd`; then their calls are allowed, as in Docker's own
profile.

It differs from the profile of Docker 20.10 in three points. io_uring is refused: it makes other calls that no
filter sees, and had many kernel vulnerabilities. Sockets are limited to five families, without AF_VSOCK,
which reaches the hypervisor past every network and firewall (vsock(7)), AF_ALG and the rarely used protocols.
`socketcall`, which hides the family from a filter, is refused on x86, where 32-bit programs of glibc have no
network then.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import aiodocker

from stager.engines.docker.client import engine_errors

Rule = Mapping[str, Any]

ENOSYS, EPERM = 38, 1
"""With ENOSYS, programs use a fallback, as on a kernel that is too old (errno(3))."""

CALLS: Mapping[str, str] = {
    "reading and writing": """
        read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek _llseek close
        close_range sendfile sendfile64 splice tee vmsplice copy_file_range readahead fadvise64 fadvise64_64
        fallocate truncate truncate64 ftruncate ftruncate64 sync syncfs fsync fdatasync sync_file_range
        flock fcntl fcntl64 ioctl dup dup2 dup3 pipe pipe2 io_setup io_destroy io_submit io_cancel
        io_getevents io_pgetevents io_pgetevents_time64
    """,
    "files and folders": """
        open openat openat2 creat access faccessat faccessat2 stat lstat fstat newfstatat fstatat64 stat64
        lstat64 fstat64 statx statfs statfs64 fstatfs fstatfs64 statmount listmount getdents getdents64
        getcwd chdir fchdir mkdir mkdirat rmdir link linkat unlink unlinkat symlink symlinkat readlink
        readlinkat rename renameat renameat2 mknod mknodat chmod fchmod fchmodat fchmodat2 chown chown32
        fchown fchown32 fchownat lchown lchown32 umask utime utimes futimesat utimensat utimensat_time64
        name_to_handle_at getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat
        listxattr llistxattr flistxattr listxattrat removexattr lremovexattr fremovexattr removexattrat
        inotify_init inotify_init1 inotify_add_watch inotify_rm_watch fanotify_mark
    """,
    "waiting": """
        poll ppoll ppoll_time64 select _newselect pselect6 pselect6_time64 epoll_create epoll_create1
        epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2 signalfd
        signalfd4
    """,
    "memory": """
        brk mmap mmap2 munmap mremap mprotect madvise mincore msync mlock mlock2 munlock mlockall munlockall
        remap_file_pages memfd_create memfd_secret membarrier cachestat mseal map_shadow_stack pkey_alloc
        pkey_free pkey_mprotect process_mrelease
    """,
    "processes and threads": """
        fork vfork execve execveat exit exit_group wait4 waitid waitpid gettid getpid getppid getpgid
        getpgrp setpgid getsid setsid prctl arch_prctl set_tid_address set_thread_area get_thread_area futex
        futex_time64 futex_waitv futex_wait futex_wake futex_requeue set_robust_list get_robust_list rseq
        restart_syscall uretprobe pidfd_open pidfd_send_signal seccomp landlock_create_ruleset
        landlock_add_rule landlock_restrict_self
    """,
    "scheduling and limits": """
        sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_setparam sched_getscheduler
        sched_setscheduler sched_getattr sched_setattr sched_get_priority_max sched_get_priority_min
        sched_rr_get_interval sched_rr_get_interval_time64 getpriority setpriority nice ioprio_get
        ioprio_set getcpu getrlimit setrlimit ugetrlimit prlimit64 getrusage times sysinfo uname
    """,
    "signals": """
        kill tkill tgkill pause alarm sigaltstack signal sigaction sigpending sigprocmask sigreturn
        sigsuspend rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
        rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
    """,
    "time": """
        time gettimeofday adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64
        clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 nanosleep getitimer setitimer
        timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
        timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64
    """,
    "users and capabilities": """
        getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getgroups getgroups32 getresuid
        getresuid32 getresgid getresgid32 setuid setuid32 setgid setgid32 setgroups setgroups32 setreuid
        setreuid32 setregid setregid32 setresuid setresuid32 setresgid setresgid32 setfsuid setfsuid32
        setfsgid setfsgid32 capget capset getrandom
    """,
    "messages between processes": """
        ipc shmget shmat shmdt shmctl semget semop semctl semtimedop semtimedop_time64 msgget msgsnd msgrcv
        msgctl mq_open mq_unlink mq_notify mq_getsetattr mq_timedsend mq_timedsend_time64 mq_timedreceive
        mq_timedreceive_time64
    """,
    "network": """
        bind connect listen accept accept4 shutdown getsockname getpeername getsockopt setsockopt send
        sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64
    """,
}
"""What every instance may do, by purpose."""

BY_CAPABILITY: Mapping[str, str] = {
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_SYS_ADMIN": """
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr
        lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl
        quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare
    """,
    "CAP_BPF": "bpf",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYSLOG": "syslog",
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "init_module finit_module delete_module",
    "CAP_SYS_NICE": "get_mempolicy set_mempolicy set_mempolicy_home_node mbind",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    "CAP_SYS_RAWIO": "iopl ioperm",
    "CAP_SYS_TIME": "settimeofday stime clock_settime clock_settime64",
    "CAP_SYS_TTY_CONFIG": "vhangup",
}
"""What only those may do to whom the administrator gave a capability."""

BY_MACHINE: Mapping[tuple[str, ...], str] = {
    ("amd64", "x32", "x86"): "modify_ldt",
    ("arm", "arm64"): "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
    ("s390", "s390x"): "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr socketcall",
    ("ppc64le",): "sync_file_range2 swapcontext",
    ("riscv64",): "riscv_flush_icache riscv_hwprobe",
}
"""What only some processors have. On s390x, glibc opens sockets by `socketcall` alone."""

DEBUGGING = "ptrace process_vm_readv process_vm_writev"
"""Debuggers and crash reporters need these. Before Linux 4.8, ptrace was a way past seccomp (seccomp(2))."""

FAMILIES: Mapping[str, int] = {"unix": 1, "inet": 2, "inet6": 10, "netlink": 16, "packet": 17}
"""The families of sockets that web applications use (socket(2)); the kernel lets none but those with NET_RAW
have AF_PACKET. AF_VSOCK is 40."""

NEW_NAMESPACES = 0x7E02_0000
"""The `CLONE_NEW*` flags of clone(2), from sched.h."""

PERSONALITIES = (0x0, 0x8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF)
"""PER_LINUX, PER_LINUX32, both with UNAME26, and the question for the present one (personality(2))."""

MACHINES: Sequence[tuple[str, str]] = [
    ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86"),
    ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
    ("SCMP_ARCH_S390X", "SCMP_ARCH_S390"),
]
"""Processors that run programs of another kind, too, each with that. The x32 interface is left out."""


SANDBOX = "clone unshare chroot"
"""What the sandbox of a browser needs: namespaces of its own for pages, without any capability outside."""


def profile() -> str:
    """The profile of instances, as Docker's API takes it after `seccomp=`."""
    return _profile("")


def browser_profile() -> str:
    """The profile of instances with what a browser's own sandbox needs."""
    return _profile(SANDBOX)


@functools.cache
def _profile(more: str) -> str:
    return json.dumps(
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": EPERM,
            "archMap": [{"architecture": own, "subArchitectures": [other]} for own, other in MACHINES],
            "syscalls": [*_rules(), *([_allowed(more)] if more else ())],
        },
        separators=(",", ":"),
    )


async def takes_profile(docker: aiodocker.Docker) -> bool:
    """Whether the engine takes a profile, and has none of the operator's choice, which would count (dockerd's
    `seccomp-profile`). Raises `Retry` where it doesn't answer."""
    with engine_errors():
        found = (await docker.system.info()).get("SecurityOptions") or ()
    options = [set(option.split(",")) for option in found]
    return any("name=seccomp" in each and each & {"profile=default", "profile=builtin"} for each in options)


def _rules() -> Iterator[Rule]:
    for names in CALLS.values():
        yield _allowed(names)
    for capability, names in BY_CAPABILITY.items():
        yield _allowed(names, includes={"caps": [capability]})
    for machines, names in BY_MACHINE.items():
        yield _allowed(names, includes={"arches": list(machines)})
    yield _allowed(DEBUGGING, includes={"minKernel": "4.8"})
    for family in FAMILIES.values():
        yield _allowed("socket socketpair", _argument(0, family))
    for persona in PERSONALITIES:
        yield _allowed("personality", _argument(0, persona))
    yield from _new_processes()
    yield _refused("io_uring_setup io_uring_enter io_uring_register")
    # Without this rule, libseccomp takes one for `socket` as permission for `socketcall` with any family.
    yield _refused("socketcall", excludes={"arches": ["s390", "s390x"]})


def _new_processes() -> Iterator[Rule]:
    """New processes without namespaces of their own. A filter can't read the arguments of clone3, so it is
    refused with an error that makes the C library use clone."""
    # Where the flags are the second argument (clone(2), "C library/kernel differences").
    on_s390 = {"arches": ["s390", "s390x"]}
    admins = {"caps": ["CAP_SYS_ADMIN"]}
    yield _allowed("clone", _flags(0), excludes={**admins, **on_s390})
    yield _allowed("clone", _flags(1), includes=on_s390, excludes=admins)
    yield _refused("clone3", excludes=admins)


def _allowed(names: str, *arguments: Rule, **when: Rule) -> Rule:
    return {"names": names.split(), "action": "SCMP_ACT_ALLOW", "args": arguments, **when}


def _refused(names: str, **when: Rule) -> Rule:
    return {"names": names.split(), "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS, **when}


def _argument(index: int, value: int) -> Rule:
    return {"index": index, "value": value, "op": "SCMP_CMP_EQ"}


def _flags(index: int) -> Rule:
    return {"index": index, "value": NEW_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
