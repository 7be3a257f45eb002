"""Denials: what is told of a flood, and what is read of the kernel's log."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.model.identity import DeviceId
from asepsis.core.trust import libcrypto
from asepsis.core.wire.security_event import SIGNATURE_BYTES, DenialKind, decode
from asepsis.edge.device.denials import (
    EVENTS_A_MINUTE,
    KEYS_MAX,
    QUIET_S,
    Denial,
    DenialCounter,
    Denials,
    denial_of,
)
from asepsis.edge.device.denials_log import LandlockLines, of_avc, open_log
from asepsis.edge.device.manifest import shipped
from asepsis.edge.device.security_signing import EventSigner
from asepsis.edge.sandbox import notify, seccomp
from asepsis.edge.sandbox.notify import Refused

TRACE = Denial(source="network", kind=DenialKind.TRACE, text="seccomp: ptrace")
AVC = (
    "5,900,1,-;audit: type=1400 audit(1700000000.1:9): avc:  denied  {{ {permission} }} for  pid=9 "
    'comm="net" {more}scontext=u:r:{source}:s0 tcontext=u:{target}:s0 tclass={kind} permissive=0'
)


def avc(permission: str, source: str, target: str, kind: str, more: str = "") -> str:
    return AVC.format(permission=permission, source=source, target=target, kind=kind, more=more)


def test_a_flood_is_told_at_once_and_then_by_number() -> None:
    counter = DenialCounter()
    counter.add(TRACE)
    assert counter.due(0) == [(TRACE, 1)]
    for _ in range(1_000):
        counter.add(TRACE)
    assert counter.due(QUIET_S - 0.1) == []
    assert counter.due(QUIET_S) == [(TRACE, 1_000)]
    assert counter.due(2 * QUIET_S) == []


def test_many_sources_are_bounded_and_what_alarms_goes_first() -> None:
    counter = DenialCounter()
    for number in range(KEYS_MAX - 1):
        counter.add(Denial(source=f"c{number}", kind=DenialKind.SOCKET, text="seccomp: socket"))
    counter.add(TRACE)
    counter.add(Denial(source="one-too-many", kind=DenialKind.FILE, text=""))
    told = counter.due(0)
    assert len(told) == EVENTS_A_MINUTE
    assert told[0] == (TRACE, 1)
    assert counter.due(QUIET_S) == []
    assert len(counter.due(60)) == EVENTS_A_MINUTE


def test_what_was_plugged_in_is_told_one_by_one() -> None:
    told: list[dict[str, object]] = []
    denials = Denials(shipped(), tell=lambda *_: None, log=None)
    denials.note_plugged(["pci/0000:00:05.0", "usb/1-1"])
    denials.step(0, {}, sign=lambda event: told.append(dict(event)))
    assert [(one["source"], one["kind"], one["text"]) for one in told] == [
        ("machine", "plugged", "plugged in: pci/0000:00:05.0"),
        ("machine", "plugged", "plugged in: usb/1-1"),
    ]
    assert not any(one["alarm"] for one in told)
    denials.close()


@pytest.mark.parametrize(
    ("call", "arguments", "kind", "text"),
    [
        ("ptrace", (16, 7, 0, 0, 0, 0), DenialKind.TRACE, "seccomp: ptrace on vitals"),
        ("ptrace", (16, 8, 0, 0, 0, 0), DenialKind.TRACE, "seccomp: ptrace"),
        ("kill", (7, 9, 0, 0, 0, 0), DenialKind.SIGNAL, "seccomp: kill on vitals"),
        ("socket", (7, 1, 0, 0, 0, 0), DenialKind.SOCKET, "seccomp: socket"),
        ("execve", (0,) * 6, DenialKind.EXECUTE, "seccomp: execve"),
        ("mount", (0,) * 6, DenialKind.PRIVILEGE, "seccomp: mount"),
    ],
)
def test_a_refused_call_is_named_with_whom_it_meant(
    call: str, arguments: tuple[int, ...], kind: DenialKind, text: str
) -> None:
    pids = {"vitals": 7, "network": 0}
    found = denial_of("network", Refused(9, call, arguments), pids)
    assert found == Denial(source="network", kind=kind, text=text)


def test_starts_that_never_get_a_filter_cost_no_descriptors() -> None:
    told: list[str] = []
    denials = Denials(shipped(), tell=lambda who, _what, _details: told.append(who), log=None)
    denials.handed("network")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        assert denials.handed("network")
        denials.step(0, {}, sign=lambda _: None)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert denials.handed("vitals") == denials.handed("origin") == {}
    denials.note_request("panel", "alarm-limit accepted")
    denials.step(0, {}, sign=lambda event: told.append(str(event["kind"])))
    denials.close()
    assert told == ["panel", "request"]


def test_no_telling_call_is_allowed_to_anybody() -> None:
    allowed = {name.split()[0] for name in seccomp.table()}
    assert not allowed & set(notify.numbers(0).values())
    assert set(notify.numbers(0).values()) == set(notify.numbers(1).values())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (avc("ptrace", "net_t", "r:vitals_t", "process"),
         ("net", DenialKind.TRACE, "selinux: ptrace process on vitals")),
        (avc("search", "net_t", "r:vitals_t", "dir", 'name="132" dev="proc" '),
         ("net", DenialKind.FILE, "selinux: search dir on vitals")),
        (avc("name_connect", "network_t", "object_r:port__22_t", "tcp_socket"),
         ("network", DenialKind.SOCKET, "selinux: name_connect tcp_socket on port__22")),
        (avc("setenforce", "network_t", "object_r:security_t", "security"),
         ("network", DenialKind.PRIVILEGE, "selinux: setenforce security on security")),
        (avc("watch", "network_t", "object_r:x_t", "anon_inode"),
         ("network", DenialKind.OTHER, "selinux: watch anon_inode on x")),
        ("6,1,2,-;something else", None),
        ('avc:  denied  { ptrace } for comm="avc: denied"', None),
    ],
)  # fmt: skip
def test_selinux_denials_are_read_by_names_of_fixed_form(line: str, expected: object) -> None:
    assert of_avc(line) == expected


def test_landlock_denials_are_those_of_our_processes_only() -> None:
    lines = LandlockLines()
    names = {41: "network"}
    began = "audit: type=1424 audit(1:2): domain=1a2b status=allocated mode=enforcing pid={} uid=0"
    denied = 'audit: type=1423 audit(1:3): domain=1a2b blockers={} path="/etc/shadow" dev="vda"'
    assert lines.of(denied.format("fs.read_file"), names) is None
    assert lines.of(began.format(41), names) is None
    rows = {
        "fs.read_file": DenialKind.FILE,
        "fs.execute": DenialKind.EXECUTE,
        "net.connect_tcp": DenialKind.SOCKET,
        "ptrace": DenialKind.TRACE,
        "scope.signal": DenialKind.OTHER,
    }
    for blocker, kind in rows.items():
        found = lines.of(denied.format(f"{blocker},fs.write_file"), names)
        assert found == ("network", kind, f"landlock: {blocker}")
    assert lines.of(began.format(99), names) is None
    assert lines.of(denied.format("ptrace"), names) is None


@given(st.text(max_size=300))
def test_any_line_is_read_or_passed_over(line: str) -> None:
    of_avc(line)
    LandlockLines().of(line, {})


def test_a_log_is_read_from_its_end_and_one_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert open_log(tmp_path / "absent") is None
    fifo = tmp_path / "log"
    fifo.write_text(avc("ptrace", "net_t", "r:vitals_t", "process") + "\n", encoding="utf-8")
    log = open_log(fifo)
    assert log
    assert list(log.read({})) == []
    with fifo.open("a", encoding="utf-8") as file:
        file.write(avc("execute", "net_t", "object_r:code_t", "file") + "\n")
    found = next(log.read({}))
    assert found == ("net", DenialKind.EXECUTE, "selinux: execute file on code")
    log.close()


def test_events_are_numbered_signed_and_cut_to_their_limits() -> None:
    key = libcrypto.generate_key()
    device = DeviceId.parse("urn:dev:mac:0012210000000001")
    signer = EventSigner(device, key=key, epoch=5, wall_ns=lambda: 7)
    body = {"kind": "trace", "alarm": True, "count": 2, "source": "network" * 9, "text": "ä\n" * 99}
    assert signer.sign({}) is None
    assert signer.sign(body | {"count": -1}) is None
    for sequence in (1, 2):
        data = signer.sign(body)
        assert data
        event, signed, signature = decode(data)
        libcrypto.verify(key.spki_der, signature, signed)
        assert (event.epoch, event.sequence, event.count) == (5, sequence, 2)
        assert len(signature) == SIGNATURE_BYTES
        assert event.text == "??" * 60
