"""PDUs, commands, file heads and sealed files: round trips, lies and limits."""

import io
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ

from asepsis.core.errors import FramingError, InputError, LimitExceeded, SignatureInvalid
from asepsis.edge.gateway.imaging import dimse, part10, pdu, sealedfile
from asepsis.edge.gateway.imaging.dimse import Command, Field, Status, Tag
from asepsis.edge.gateway.imaging.pdu_values import (
    AnsweredContext,
    AssociateAccept,
    AssociateRequest,
    PduType,
    ProposedContext,
    RoleSelection,
    UserIdentity,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
titles = st.text("ABCXYZ019_- ", min_size=1, max_size=16).map(str.strip).filter(bool)
uids = st.lists(st.integers(0, 99_999), min_size=2, max_size=8).map(
    lambda parts: ".".join(map(str, parts))
)
identities = st.builds(
    UserIdentity,
    st.integers(1, 5),
    st.booleans(),
    st.binary(max_size=300),
    st.binary(max_size=30),
)
requests = st.builds(
    AssociateRequest,
    called=titles,
    calling=titles,
    contexts=st.lists(st.tuples(uids, st.lists(uids, min_size=1, max_size=4)), min_size=1).map(
        lambda rows: tuple(
            ProposedContext(2 * n + 1, one, tuple(many)) for n, (one, many) in enumerate(rows[:128])
        )
    ),
    pdu_bytes_max=st.integers(0, 2**32 - 1),
    identity=st.none() | identities,
    roles=st.lists(st.builds(RoleSelection, uids, st.booleans(), st.booleans()), max_size=3).map(
        tuple
    ),
)


def request(**changes: object) -> AssociateRequest:
    values = {
        "called": "GATE",
        "calling": "CT1",
        "contexts": (ProposedContext(1, CT, (EXPLICIT,)),),
        "pdu_bytes_max": 16_384,
    }
    return AssociateRequest(**(values | changes))  # type: ignore[arg-type]


@given(requests)
def test_requests_come_back_as_they_were(sent: AssociateRequest) -> None:
    encoded = pdu.encode_request(sent)
    kind, length = pdu.read_head(encoded[:6], data_bytes_max=1)
    assert (kind, length) == (PduType.ASSOCIATE_RQ, len(encoded) - 6)
    assert pdu.decode_request(encoded[6:]) == sent


@given(requests, st.data())
def test_a_damaged_request_is_refused_or_still_one(
    sent: AssociateRequest, data: st.DataObject
) -> None:
    """Goal: no byte of a stranger raises anything but our own errors."""
    body = bytearray(pdu.encode_request(sent)[6:])
    for _ in range(3):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(body)))
    for damaged in (bytes(body), bytes(body[:end])):
        try:
            pdu.decode_request(damaged)
        except InputError:
            continue


def test_pynetdicom_reads_our_request_and_we_read_its() -> None:
    roles = (RoleSelection(CT, user=False, provider=True),)
    sent = request(identity=UserIdentity(2, True, b"nurse", b"secret"), roles=roles)
    theirs = A_ASSOCIATE_RQ()
    theirs.decode(pdu.encode_request(sent))
    assert theirs.called_ae_title == "GATE"
    assert pdu.decode_request(theirs.encode()[6:]) == sent


def test_pynetdicom_reads_our_accept_and_we_read_its() -> None:
    sent = AssociateAccept(
        contexts=(AnsweredContext(1, 0, EXPLICIT), AnsweredContext(3, 3, EXPLICIT)),
        pdu_bytes_max=4_096,
        identity_answer=b"ticket",
        roles=(RoleSelection(CT, user=False, provider=True),),
    )
    theirs = A_ASSOCIATE_AC()
    theirs.decode(pdu.encode_accept(sent, request=request()))
    assert pdu.decode_accept(theirs.encode()[6:]) == sent


@pytest.mark.parametrize(
    "head",
    [b"\x00\x00\x00\x00\x00\x04", b"\x08\x00\x00\x00\x00\x04", b"GET /d"],
)
def test_what_is_no_pdu(head: bytes) -> None:
    with pytest.raises(FramingError):
        pdu.read_head(head, data_bytes_max=16_384)


@pytest.mark.parametrize(
    "head", [b"\x04\x00\xff\xff\xff\xff", b"\x01\x00\x7f\xff\xff\xff", b"\x07\x00\x00\x00\x00\x05"]
)
def test_a_pdu_that_is_too_long_is_refused_before_its_body(head: bytes) -> None:
    with pytest.raises(LimitExceeded):
        pdu.read_head(head, data_bytes_max=16_384)


@pytest.mark.parametrize(
    "body",
    [
        b"\0\0\0",
        struct.pack(">IBB", 1, 1, 0),
        struct.pack(">IBB", 0xFFFFFFFF, 1, 0),
        struct.pack(">IBB", 2, 1, 9),
    ],
)
def test_values_that_lie_about_their_length(body: bytes) -> None:
    with pytest.raises(FramingError):
        list(pdu.read_pdvs(body))


def test_too_many_contexts_and_twice_the_same() -> None:
    one = ProposedContext(1, CT, (EXPLICIT,))
    with pytest.raises(FramingError):
        pdu.decode_request(pdu.encode_request(request(contexts=(one, one)))[6:])
    many = ProposedContext(1, CT, (EXPLICIT,) * 65)
    with pytest.raises(LimitExceeded):
        pdu.decode_request(pdu.encode_request(request(contexts=(many,)))[6:])
    with pytest.raises(FramingError):
        pdu.decode_request(pdu.encode_request(request(contexts=()))[6:])


def test_a_store_request_and_its_response() -> None:
    asked = Command.decode(dimse.store_request(7, sop_class=CT, sop_instance="1.2.3"))
    assert asked.number(Tag.FIELD) == Field.C_STORE_RQ
    assert asked.has_data_set
    answer = Command.decode(dimse.response(asked, Status.OUT_OF_RESOURCES, comment="full\\x" * 30))
    assert answer.number(Tag.RESPONDED_ID) == 7
    assert answer.number(Tag.STATUS) == 0xA700
    assert answer.uid(Tag.SOP_INSTANCE) == "1.2.3"
    assert len(answer.elements[Tag.ERROR_COMMENT]) <= 64
    assert b"\\" not in answer.elements[Tag.ERROR_COMMENT]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_command_or_refused(data: bytes) -> None:
    try:
        found = Command.decode(data)
        found.number(Tag.FIELD)
    except FramingError:
        return
    assert Command.decode(found.encode()).elements | {0: b""} == found.elements | {0: b""}


def test_pydicom_reads_our_file_head() -> None:
    path = Path(get_testdata_file("CT_small.dcm"))  # type: ignore[arg-type]
    meta, begin = part10.decode_head(path.read_bytes()) or (None, 0)
    assert meta is not None
    ours = part10.encode_head(meta)
    whole = ours + path.read_bytes()[begin:]
    read = dcmread(io.BytesIO(whole))
    assert read.file_meta.MediaStorageSOPInstanceUID == read.SOPInstanceUID
    assert read.preamble == bytes(128)
    assert part10.decode_head(ours) == (meta, len(ours))


@given(st.binary(max_size=400))
def test_any_bytes_are_a_file_head_or_refused(data: bytes) -> None:
    try:
        part10.decode_head(bytes(128) + b"DICM\2\0\0\0UL\4\0" + data)
    except InputError:
        return


def seal(path: Path, data: bytes, *, bytes_max: int = 1 << 30) -> bytes:
    key = os.urandom(32)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    writer = sealedfile.SealedWriter(descriptor, key, bytes_max=bytes_max)
    try:
        for at in range(0, len(data), 100_003):
            writer.write(memoryview(data)[at : at + 100_003])
        writer.finish()
    finally:
        writer.close()
    assert writer.length == len(data)
    assert path.stat().st_size == sealedfile.sealed_length(len(data))
    return key


def unseal(path: Path, key: bytes, length: int) -> bytes:
    with io.FileIO(path) as file:
        return b"".join(map(bytes, sealedfile.read_sealed(file, key, length=length)))


PIECE = sealedfile.PIECE_BYTES


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 700_001])
def test_sealed_files_come_back(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    key = seal(tmp_path / "a", data)
    assert unseal(tmp_path / "a", key, size) == data
    assert size < 64 or data[:64] not in (tmp_path / "a").read_bytes()


def test_a_changed_cut_or_shuffled_file_is_refused(tmp_path: Path) -> None:
    path, size = tmp_path / "a", 3 * PIECE
    key = seal(path, os.urandom(size))
    good = path.read_bytes()
    unit = PIECE + sealedfile.TAG_BYTES
    swapped = good[unit : 2 * unit] + good[:unit] + good[2 * unit :]
    for bad, length in (
        (good[:-1], size),
        (good[: 2 * unit], 2 * PIECE),
        (bytes([good[0] ^ 1]) + good[1:], size),
        (swapped, size),
        (good, size - 1),
    ):
        path.write_bytes(bad)
        with pytest.raises(SignatureInvalid):
            unseal(path, key, length)


def test_a_writer_stops_at_its_limit(tmp_path: Path) -> None:
    with pytest.raises(LimitExceeded):
        seal(tmp_path / "a", bytes(2_000), bytes_max=1_999)
