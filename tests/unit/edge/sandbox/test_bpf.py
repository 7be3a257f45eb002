"""The filter, judged by an interpreter of classic BPF made for this test, and by kernel headers."""

import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import LimitExceeded
from asepsis.edge.sandbox import bpf, seccomp
from asepsis.edge.sandbox.bpf import Masked, Null, Rule
from asepsis.edge.sandbox.seccomp import SyscallClass

X86, ARM = 0xC000003E, 0xC00000B7
ERRNO = bpf.RET_ERRNO | bpf.EPERM
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def verdict(
    program: tuple[bpf.Instruction, ...], number: int, *arguments: int, arch: int = X86
) -> int:
    data = struct.pack("<IIQ6Q", number, arch, 0, *(*arguments, *[0] * 6)[:6])
    at, accumulator = 0, 0
    while True:
        code, jump_true, jump_false, constant = program[at]
        at += 1
        if code == bpf.RETURN:
            return constant
        if code == bpf.LOAD_WORD:
            accumulator = int.from_bytes(data[constant : constant + 4], "little")
        elif code == bpf.AND:
            accumulator &= constant
        else:
            taken = accumulator == constant if code == bpf.JUMP_EQUAL else accumulator >= constant
            at += jump_true if taken else jump_false


def network(machine: str = "x86_64") -> tuple[bpf.Instruction, ...]:
    rules = seccomp.rules(SyscallClass.NETWORK, machine_name=machine)
    return bpf.assemble(rules, architecture=X86 if machine == "x86_64" else ARM)


CONDITIONS = st.lists(
    st.one_of(
        st.builds(Masked, st.integers(0, 5), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
        st.builds(Null, st.integers(0, 5)),
    ),
    max_size=3,
).map(tuple)
RULES = st.lists(
    st.builds(Rule, st.integers(0, 500), CONDITIONS, st.just(bpf.RET_ALLOW)), max_size=12
)


@given(RULES, st.integers(0, 500), st.lists(st.integers(0, 2**64 - 1), min_size=6, max_size=6))
def test_a_filter_says_what_its_rules_say(
    rules: list[Rule], number: int, arguments: list[int]
) -> None:
    def holds(condition: Masked | Null) -> bool:
        value = arguments[condition.argument]
        if isinstance(condition, Null):
            return value == 0
        return value & 0xFFFFFFFF & condition.mask == condition.value

    allowed = any(r.number == number and all(map(holds, r.conditions)) for r in rules)
    program = bpf.assemble(rules, architecture=X86)
    assert verdict(program, number, *arguments) == (bpf.RET_ALLOW if allowed else ERRNO)


@given(st.integers(0, 2**32 - 1))
def test_another_architecture_ends_the_process(number: int) -> None:
    assert verdict(network(), number, arch=0x40000003) == bpf.RET_KILL_PROCESS
    assert verdict(network(), number | bpf.X32_BIT) == bpf.RET_KILL_PROCESS


def test_what_matters_is_refused_in_every_class() -> None:
    refused = {
        "socket": 41, "connect": 42, "accept": 43, "bind": 49, "listen": 50, "fork": 57,
        "vfork": 58, "execve": 59, "kill": 62, "ptrace": 101, "mount": 165, "setuid": 105,
        "unshare": 272, "setns": 308, "process_vm_readv": 310, "execveat": 322, "bpf": 321,
        "userfaultfd": 323, "io_uring_setup": 425, "pidfd_open": 434, "pidfd_getfd": 438,
        "prctl": 157, "tgkill": 234, "sendmmsg": 307, "memfd_create": 319, "setpriority": 141,
    }  # fmt: skip
    for kind in SyscallClass:
        program = bpf.assemble(seccomp.rules(kind, machine_name="x86_64"), architecture=X86)
        for name, number in refused.items():
            if name == "listen" and kind is SyscallClass.LISTENING:
                continue  # On what was bound before; `bind` and `socket` stay refused.
            assert verdict(program, number) == ERRNO, name
    core = seccomp.rules(SyscallClass.CORE, machine_name="x86_64")
    for name, number in {"openat": 257, "unlink": 87, "setsockopt": 54, "stat": 4}.items():
        assert verdict(bpf.assemble(core, architecture=X86), number) == ERRNO, name


def test_arguments_are_judged() -> None:
    program = network()
    allow = bpf.RET_ALLOW
    assert verdict(program, 9, 0, 4_096, 3, 0x22) == allow  # mmap read and write
    assert verdict(program, 9, 0, 4_096, 5, 0x22) == ERRNO  # mmap executable
    assert verdict(program, 10, 0, 4_096, 7) == ERRNO  # mprotect executable
    assert verdict(program, 56, 0x3D0F00) == allow  # clone of a thread
    assert verdict(program, 56, 0x1200011) == ERRNO  # clone of a process
    assert verdict(program, 435) == bpf.RET_ERRNO | bpf.ENOSYS  # clone3
    assert verdict(program, 44, 3, 1, 1, 0x4000, 0, 0) == allow  # sendto
    assert verdict(program, 44, 3, 1, 1, 0, 1 << 40, 16) == ERRNO  # sendto with an address
    assert verdict(program, 44, 3, 1, 1, 0x20000000) == ERRNO  # MSG_FASTOPEN
    assert verdict(program, 46, 3, 1, 0x20000000) == ERRNO
    assert verdict(program, 302, 0, 7, 0, 1) == allow  # prlimit64 of itself, reading
    assert verdict(program, 302, 0, 7, 1, 0) == ERRNO
    assert verdict(program, 302, 99, 7, 0, 1) == ERRNO
    assert verdict(program, 54, 3, 6, 1) == allow  # TCP_NODELAY
    assert verdict(program, 54, 3, 6, 19) == ERRNO  # TCP_REPAIR


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    text = HEADERS[machine].read_text("ascii")
    defined = {
        name: int(number)
        for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)
    }
    column = 0 if machine == "x86_64" else 1
    renamed = {"newfstatat": "fstatat", "fstat": "fstat"} if column else {}
    for name, numbers in seccomp.table().items():
        if numbers[column] >= 0:
            assert defined[renamed.get(name, name)] == numbers[column], name
        else:
            assert name not in defined, name


def test_a_filter_has_a_bounded_length() -> None:
    with pytest.raises(LimitExceeded):
        bpf.assemble([Rule(n) for n in range(3_000)], architecture=X86)
    assert len(bpf.encode(network())) == 8 * len(network())
    assert len(network("aarch64")) < 400
