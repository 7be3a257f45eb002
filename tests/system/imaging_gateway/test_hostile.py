"""Strangers, liars and floods: refused in DICOM's words, told as findings, nobody else hurt."""

import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom.data
import pytest
from dicom_ward import (
    CLEAR,
    CT,
    EXPLICIT,
    PLAIN,
    DicomWard,
    children,
    instance,
    make_ward,
    peer_text,
    run,
    send,
    storescu,
)

from asepsis.edge.gateway.imaging import dimse, pdu
from asepsis.edge.gateway.imaging.pdu_values import (
    AssociateRequest,
    PduType,
    ProposedContext,
    Rejection,
)

LIMITED = "pdu_s = 0.5\nidle_s = 1.0\nassociations_max = 3\ninstance_bytes_max = 100000\n"
REQUEST = AssociateRequest(
    called="GATE", calling="CT1", contexts=(ProposedContext(1, CT, (EXPLICIT,)),)
)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DicomWard]:
    """Return a running gateway with narrow limits."""
    more = f'sop_classes = ["{CT}"]\ncleartext = true\n{LIMITED}'
    made = make_ward(
        tmp_path_factory.mktemp("strict"),
        peers=peer_text(more=more) + peer_text("us", ["US1"], more=CLEAR)
        + peer_text("far", ["FAR"], more=CLEAR).replace("127.0.0.1", "127.0.0.9"),
        listeners=PLAIN + "pdu_bytes_max = 16384\nassociations_max = 20\n",
    )  # fmt: skip
    made.start_server()
    made.start_gateway()
    yield made
    made.close()


class Raw:
    """A socket that says what it likes."""

    def __init__(self, ward: DicomWard, source: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(
            ("127.0.0.1", ward.port()), 10, source_address=(source, 0)
        )

    def say(self, data: bytes) -> None:
        self.socket.sendall(data)

    def hear(self) -> tuple[int, bytes]:
        """Return the next PDU, or (0, b"") at the end of the connection."""
        try:
            head = self._exactly(6)
            return head[0], self._exactly(int.from_bytes(head[2:], "big"))
        except (ConnectionError, EOFError):
            return 0, b""

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = self.socket.recv(count - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return data

    def associate(self) -> None:
        self.say(pdu.encode_request(REQUEST))
        assert self.hear()[0] == PduType.ASSOCIATE_AC

    def close(self) -> None:
        self.socket.close()


def alive(ward: DicomWard) -> None:
    """The gateway still serves, with the same processes."""
    assert send(ward, [instance(1)], title="US1") == [0]


@pytest.mark.parametrize(
    ("title", "called", "expected"),
    [
        ("CT9", "GATE", "Calling AE Title Not Recognized"),
        ("CT1", "ANY-SCP", "Called AE Title Not Recognized"),
        ("FAR", "GATE", "Calling AE Title Not Recognized"),
    ],
)
def test_a_wrong_title_or_address_is_rejected(
    strict: DicomWard, title: str, called: str, expected: str
) -> None:
    done = run("echoscu", "-v", "-aet", title, "-aec", called, "127.0.0.1", strict.port())
    assert done.returncode != 0
    assert expected in done.stderr + done.stdout


def test_an_address_of_no_peer_is_not_even_read(strict: DicomWard) -> None:
    raw = Raw(strict, source="127.0.0.77")
    raw.say(pdu.encode_request(REQUEST))
    assert raw.hear() == (0, b"")
    raw.close()
    assert strict.findings()["unknown-sender"] >= 1


def test_an_undeclared_class_is_no_context(strict: DicomWard) -> None:
    raw = Raw(strict)
    contexts = (
        ProposedContext(1, "1.2.840.10008.5.1.4.1.1.4", (EXPLICIT,)),
        ProposedContext(3, CT, (EXPLICIT,)),
    )
    raw.say(pdu.encode_request(AssociateRequest(called="GATE", calling="CT1", contexts=contexts)))
    kind, body = raw.hear()
    raw.close()
    assert kind == PduType.ASSOCIATE_AC
    assert [context.result for context in pdu.decode_accept(body).contexts] == [3, 0]
    assert strict.findings()["undeclared-sop-class"] >= 1


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\x01\x00\xff\xff\xff\xff" + b"A" * 64,
        b"\x04\x00\x00\x00\x00\x06" + b"\0" * 6,
        b"\x01\x00\x00\x00\x00\x10" + b"\0" * 16,
    ],
)
def test_garbage_before_an_association(strict: DicomWard, data: bytes) -> None:
    raw = Raw(strict)
    raw.say(data)
    assert raw.hear()[0] in {0, PduType.ABORT}
    raw.close()
    alive(strict)


@pytest.mark.parametrize(
    "data",
    [
        b"\x04\x00\x7f\xff\xff\xff",
        b"\x09\x00\x00\x00\x00\x00",
        b"\x04\x00\x00\x00\x00\x06" + struct.pack(">IBB", 0xFFFFFFFF, 1, 3),
        b"\x04\x00\x00\x00\x00\x06" + struct.pack(">IBB", 2, 77, 3),
        b"\x04\x00\x00\x00\x00\x06" + struct.pack(">IBB", 2, 1, 2),
        b"\x04\x00\x00\x00\x00\x0a" + struct.pack(">IBB", 6, 1, 3) + b"\1\2\3\4",
        b"\x01\x00\x00\x00\x00\x00",
    ],
)
def test_garbage_inside_an_association_is_aborted(strict: DicomWard, data: bytes) -> None:
    raw = Raw(strict)
    raw.associate()
    raw.say(data)
    assert raw.hear()[0] in {0, PduType.ABORT}
    raw.close()
    alive(strict)
    assert list(strict.images.glob("*.image")) == []


def test_a_slow_pdu_and_a_silent_peer_are_ended(strict: DicomWard) -> None:
    slow, silent = Raw(strict), Raw(strict)
    slow.associate()
    silent.associate()
    begin = time.monotonic()
    slow.say(b"\x04\x00\x00")
    assert slow.hear()[0] in {0, PduType.ABORT}
    assert silent.hear()[0] in {0, PduType.ABORT}
    assert time.monotonic() - begin < 5
    slow.close()
    silent.close()
    assert strict.findings()["slow"] >= 1


def test_more_associations_than_allowed_are_rejected_for_now(strict: DicomWard) -> None:
    taken = [Raw(strict) for _ in range(3)]
    for raw in taken:
        raw.associate()
    late = Raw(strict)
    late.say(pdu.encode_request(REQUEST))
    kind, body = late.hear()
    assert kind == PduType.ASSOCIATE_RJ
    assert pdu.decode_rejection(body) == Rejection(2, 3, 2)
    for raw in (*taken, late):
        raw.close()


def test_an_instance_that_is_too_long_gets_out_of_resources(strict: DicomWard) -> None:
    assert send(strict, [instance(2, 200_000), instance(3, 5_000)]) == [0xA700, 0]
    assert list(strict.images.glob("*.image")) == []


def test_a_class_that_is_not_that_of_its_context(strict: DicomWard) -> None:
    raw = Raw(strict)
    raw.associate()
    command = dimse.store_request(1, sop_class="1.2.840.10008.5.1.4.1.1.4", sop_instance="1.2")
    raw.say(pdu.data_head(1, len(command), command=True, last=True) + command)
    raw.say(pdu.data_head(1, 4, command=False, last=True) + b"abcd")
    _, body = raw.hear()
    raw.close()
    answer = dimse.Command.decode(bytes(next(pdu.read_pdvs(body)).data))
    assert answer.number(dimse.Tag.STATUS) == 0x0122


def test_another_operation_is_not_recognised(strict: DicomWard) -> None:
    raw = Raw(strict)
    raw.associate()
    numbers = {dimse.Tag.FIELD: 0x0130, dimse.Tag.MESSAGE_ID: 5, dimse.Tag.DATA_SET_TYPE: 0x0101}
    command = dimse.command(numbers)
    raw.say(pdu.data_head(1, len(command), command=True, last=True) + command)
    _, body = raw.hear()
    raw.close()
    answer = dimse.Command.decode(bytes(next(pdu.read_pdvs(body)).data))
    assert answer.number(dimse.Tag.STATUS) == 0x0211


def test_a_broken_off_instance_leaves_nothing(strict: DicomWard) -> None:
    raw = Raw(strict)
    raw.associate()
    command = dimse.store_request(1, sop_class=CT, sop_instance="1.2.3")
    raw.say(pdu.data_head(1, len(command), command=True, last=True) + command)
    raw.say(pdu.data_head(1, 4, command=False, last=False) + b"abcd")
    deadline = time.monotonic() + 5
    while not list(strict.images.glob("*.image")) and time.monotonic() < deadline:
        time.sleep(0.01)
    raw.close()
    while list(strict.images.glob("*.image")) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert list(strict.images.glob("*.image")) == []
    alive(strict)


def test_a_flood_is_slowed_down_and_nothing_is_lost(prepared: Callable[..., DicomWard]) -> None:
    ward = prepared(peers=peer_text(more=CLEAR + "rate_per_s = 20.0\nburst = 5\n"))
    ward.start_server()
    ward.start_gateway()
    begin = time.monotonic()
    assert send(ward, [instance(number) for number in range(25)]) == [0] * 25
    assert time.monotonic() - begin > 0.9
    assert ward.server is not None
    assert len(ward.server.stored) == 25
    assert ward.findings()["rate"] >= 1


def test_what_the_processes_may_do(strict: DicomWard) -> None:
    """Goal: the parser has no key and no spool; what it holds of the spool can only be written."""
    assert strict.gateway is not None
    raw = Raw(strict)
    raw.associate()
    command = dimse.store_request(1, sop_class=CT, sop_instance="1.2.3")
    raw.say(pdu.data_head(1, len(command), command=True, last=True) + command)
    raw.say(pdu.data_head(1, 4, command=False, last=False) + b"abcd")
    deadline = time.monotonic() + 5
    found: dict[str, int] = {}
    while not found and time.monotonic() < deadline:
        found = open_files(strict.gateway.pid)
    raw.close()
    assert found
    assert all(name.endswith(".image") and flags & 0o3 == 1 for name, flags in found.items())
    for pid in (strict.gateway.pid, children(strict.gateway.pid)[0]):
        status = Path(f"/proc/{pid}/status").read_text()
        assert "Seccomp:\t2" in status
        assert "NoNewPrivs:\t1" in status


def open_files(pid: int) -> dict[str, int]:
    """Return the files of spool and identity that a process has open, and their flags."""
    found: dict[str, int] = {}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            name = str(link.readlink())
            text = Path(f"/proc/{pid}/fdinfo/{link.name}").read_text()
        except OSError:
            continue
        if "/gateway/spool" in name or "/identity" in name:
            flags = next(line for line in text.splitlines() if line.startswith("flags"))
            found[name] = int(flags.split()[1], 8)
    return found


def test_files_of_dcmtk_pass_beside_all_this(strict: DicomWard) -> None:
    done = storescu(strict.port(), pydicom.data.get_testdata_file("CT_small.dcm"), title="US1")
    assert "Success" in done.stdout + done.stderr
