"""The seccomp filter of a confined worker: from the rules to a program of classic BPF. Pure.

The kernel runs the program before every system call. It reads the number, the convention and the arguments, never memory, so
a path cannot be judged here; that is what Landlock is for, and without it no path is allowed at all.
"""

import errno
import os
import struct
from collections.abc import Iterable, Mapping

from . import rules

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN, _AND = 0x20, 0x15, 0x35, 0x45, 0x06, 0x54
_NUMBER, _CONVENTION, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_X32 = 0x40000000
"""Numbers from here on are those of the x32 convention, which shares its name with x86-64."""

_CLONE_THREAD, _CLONE_VM = 0x10000, 0x100
_MAP_SHARED, _MAP_ANONYMOUS, _MAP_GROWSDOWN, _MAP_HUGETLB = 0x01, 0x20, 0x100, 0x40000
_AT_EMPTY_PATH = 0x1000
_F_DUPFD, _F_GETFD, _F_SETFD, _F_GETFL, _F_DUPFD_CLOEXEC = 0, 1, 2, 3, 1030
_TCGETS, _FIOCLEX, _FIONCLEX = 0x5401, 0x5451, 0x5450
_PR_SET_NAME, _PR_GET_NAME, _PR_SET_VMA = 15, 16, 0x53564D41

Instruction = bytes


def program(
    table: Mapping[str, int], convention: int, *, reading: bool, threads: bool, pid: int, kill: bool = True
) -> bytes:
    """The filter as the bytes of ``struct sock_filter[]``.

    Args:
        table: name → number of this machine.
        convention: the constant a call of this machine carries; a call of another one ends the process.
        reading: allow calls with a path that only read (Landlock decides which paths); else every path is refused.
        threads: allow new threads of this process. New processes are never allowed.
        pid: the only process that may be signalled: the worker itself.
        kill: end the process at a call that only an attack needs; else answer ``EPERM`` (the self-test must survive).
    """
    code = [
        _op(_LOAD, _CONVENTION), _op(_EQUAL, convention, 1, 0), _answer(_KILL),
        _op(_LOAD, _NUMBER), _op(_AT_LEAST, _X32, 0, 1), _answer(_ERROR | errno.ENOSYS),
    ]  # fmt: skip
    decided = _decided_by_arguments(reading, threads, pid)
    for name, body in decided.items():
        if name in table:
            code += [_op(_EQUAL, table[name], 0, len(body)), *body]
    harm = _KILL if kill else _ERROR | errno.EPERM
    code += _each(table, rules.ALLOWED - decided.keys(), _ALLOW)
    code += _each(table, rules.READING - decided.keys(), _ALLOW if reading else _ERROR | errno.EACCES)
    code += _each(table, rules.NO_ACCESS, _ERROR | errno.EACCES)
    code += _each(table, rules.NO_PERMISSION, _ERROR | errno.EPERM)
    code += _each(table, rules.KILLED, harm)
    code.append(_answer(_ERROR | errno.ENOSYS))
    return b"".join(code)


def refusing(table: Mapping[str, int], errors: Mapping[str, int]) -> bytes:
    """A filter that answers the named calls with an error number and allows the rest: imitates another machine in tests."""
    code = [_op(_LOAD, _NUMBER)]
    for name, error in errors.items():
        code += _each(table, [name], _ERROR | error)
    return b"".join([*code, _answer(_ALLOW)])


def _decided_by_arguments(reading: bool, threads: bool, pid: int) -> dict[str, list[Instruction]]:
    no_permission, no_access = _ERROR | errno.EPERM, _ERROR | errno.EACCES
    own = [_argument(0), _op(_EQUAL, pid, 0, 1), _answer(_ALLOW), _answer(no_permission)]
    bodies = {
        # Shared anonymous memory is not counted by RLIMIT_DATA, growing stacks and huge pages by no limit.
        "mmap": [
            _argument(3),
            _op(_ANY_BIT, _MAP_GROWSDOWN | _MAP_HUGETLB, 0, 1),
            _answer(no_permission),
            _op(_AND, _MAP_SHARED | _MAP_ANONYMOUS),
            _op(_EQUAL, _MAP_SHARED | _MAP_ANONYMOUS, 0, 1),
            _answer(no_permission),
            _answer(_ALLOW),
        ],
        "kill": own,
        "tgkill": own,
        "prctl": _one_of(0, (_PR_SET_NAME, _PR_GET_NAME), {_PR_SET_VMA: errno.EINVAL}, errno.EPERM),
        "fcntl": _one_of(1, (_F_DUPFD, _F_GETFD, _F_SETFD, _F_GETFL, _F_DUPFD_CLOEXEC), {}, errno.EPERM),
        # "Is this a terminal?" is asked of every stream; the answer is no.
        "ioctl": _one_of(1, (_FIOCLEX, _FIONCLEX), {_TCGETS: errno.ENOTTY}, errno.EPERM),
        # Reading limits is harmless; setting any needs a third argument.
        "prlimit64": [
            _argument(2), _op(_EQUAL, 0, 0, 3), _argument(2, high=True), _op(_EQUAL, 0, 0, 1), _answer(_ALLOW),
            _answer(no_permission),
        ],
        "getrlimit": [_answer(_ALLOW)],
        "clone3": [_answer(_ERROR | errno.ENOSYS)],  # its flags lie in memory; the C library then uses clone
        "clone": [
            _argument(0), _op(_AND, _CLONE_THREAD | _CLONE_VM), _op(_EQUAL, _CLONE_THREAD | _CLONE_VM, 0, 1),
            _answer(_ALLOW), _answer(no_permission),
        ] if threads else [_answer(_ERROR | errno.EAGAIN)],
        "openat2": [_answer(_ERROR | errno.ENOSYS)],  # its flags lie in memory too
    }  # fmt: skip
    if reading:
        changing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | _o_tmpfile()
        for name, place in (("open", 1), ("openat", 2)):
            bodies[name] = [_argument(place), _op(_ANY_BIT, changing, 0, 1), _answer(no_access), _answer(_ALLOW)]
    else:
        bodies |= {"open": [_answer(no_access)], "openat": [_answer(no_access)]}
        # How newer C libraries spell fstat: a path call with an empty path.
        bodies["newfstatat"] = [
            _argument(3), _op(_ANY_BIT, _AT_EMPTY_PATH, 0, 1), _answer(_ALLOW), _answer(no_access),
        ]  # fmt: skip
    return bodies


def _o_tmpfile() -> int:
    return getattr(os, "O_TMPFILE", 0) & ~os.O_DIRECTORY  # it contains O_DIRECTORY, which reading a folder needs


def _one_of(place: int, allowed: Iterable[int], errors: Mapping[int, int], otherwise: int) -> list[Instruction]:
    code = [_argument(place)]
    for value in allowed:
        code += [_op(_EQUAL, value, 0, 1), _answer(_ALLOW)]
    for value, error in errors.items():
        code += [_op(_EQUAL, value, 0, 1), _answer(_ERROR | error)]
    return [*code, _answer(_ERROR | otherwise)]


def _each(table: Mapping[str, int], names: Iterable[str], answer: int) -> list[Instruction]:
    numbers = sorted(table[name] for name in names if name in table)
    return [one for number in numbers for one in (_op(_EQUAL, number, 0, 1), _answer(answer))]


def _argument(place: int, high: bool = False) -> Instruction:
    return _op(_LOAD, _FIRST_ARGUMENT + 8 * place + (4 if high else 0))


def _answer(value: int) -> Instruction:
    return _op(_RETURN, value)


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> Instruction:
    return struct.pack("=HBBI", code, if_true, if_false, value & 0xFFFFFFFF)
