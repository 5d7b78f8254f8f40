"""A process that can compute and answer, and nothing else: for scoring text that a model wrote.

Two fences, both kept by others than the code they fence in. The kernel's (seccomp, through libseccomp): of all system
calls only those that computing, reading files and writing to the two pipes take; no network, no new file, no new
process, no signal to another. The interpreter's (an audit hook, PEP 578): code that comes from no file is not run; the
process ends before its first instruction, and its starter is told so by the exit status.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

from relex.core.errors import InputError

EVALUATED = 77  # exit status of a process in which text was about to be run as code

# What an interpreter needs that computes, loads modules and reads; write and openat have conditions of their own.
_ALLOWED = [
    "read",
    "pread64",
    "readv",
    "close",
    "lseek",
    "fstat",
    "newfstatat",
    "stat",
    "lstat",
    "statx",
    "access",
    "faccessat",
    "faccessat2",
    "readlink",
    "readlinkat",
    "getcwd",
    "getdents64",
    "mmap",
    "munmap",
    "mremap",
    "mprotect",
    "madvise",
    "brk",
    "futex",
    "rseq",
    "set_robust_list",
    "sched_yield",
    "sched_getaffinity",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sigaltstack",
    "setitimer",
    "getitimer",
    "restart_syscall",
    "clock_gettime",
    "clock_getres",
    "clock_nanosleep",
    "nanosleep",
    "gettimeofday",
    "time",
    "times",
    "getrusage",
    "getrandom",
    "getpid",
    "gettid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "uname",
    "sysinfo",
    "exit",
    "exit_group",
    "poll",
    "ppoll",
    "select",
    "pselect6",
]
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Events of the interpreter that nothing which scores an answer causes; the kernel's fence would stop most of them too.
_EVENTS = frozenset(
    {
        "os.system",
        "os.exec",
        "os.fork",
        "os.posix_spawn",
        "os.putenv",
        "subprocess.Popen",
        "socket.connect",
        "pty.spawn",
    }
)
# Library functions that run code of their own making, of numbers and of names that their callers wrote, never of text.
_GENERATORS = (
    ("/sympy/polys/monomials.py", "_build"),
    ("/dataclasses.py", "_create_fn"),
    ("/collections/__init__.py", "namedtuple"),
)


def check_available() -> None:
    """InputError where the system has no libseccomp: then nothing that a model wrote is scored by a parser."""
    _seccomp()


def confine(reply: int) -> None:
    """Give up, for good, all that scoring does not take. reply: the one handle that may be written to, beside stderr.

    Called once, in a process that has loaded what it scores with.
    """
    seccomp = _seccomp()
    sys.addaudithook(_only_code_of_files)
    rules = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    for name in _ALLOWED:
        try:
            rules.add_rule(seccomp.ALLOW, name)
        except (OSError, ValueError, RuntimeError):  # not a call of this architecture
            continue
    for handle in (reply, 2):
        rules.add_rule(seccomp.ALLOW, "write", seccomp.Arg(0, seccomp.EQ, handle))
    rules.add_rule(seccomp.ALLOW, "openat", seccomp.Arg(2, seccomp.MASKED_EQ, _WRITING, 0))
    rules.load()


def _seccomp() -> Any:
    try:
        import pyseccomp
    except (ImportError, OSError, RuntimeError) as error:
        raise InputError(
            "libseccomp is missing: text that a model wrote cannot be scored safely without it",
            where="scoring",
            found=" ".join(str(error).split())[:200],
            todo="install your system's libseccomp (Debian, Ubuntu: libseccomp2; Fedora: libseccomp)",
        ) from None
    return pyseccomp


def _only_code_of_files(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "exec":
        source = getattr(arguments[0], "co_filename", "")
        if not (source.startswith("<frozen ") or (source.startswith("/") and os.path.exists(source))):
            caller = sys._getframe(1).f_code
            if not any(caller.co_name == name and caller.co_filename.endswith(file) for file, name in _GENERATORS):
                os._exit(EVALUATED)
    elif event in _EVENTS:
        os._exit(EVALUATED)
