"""Goal: groups and batches give back what was put in, and nothing malformed passes."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import FramingError, InputError, LimitExceeded
from asepsis.core.wire import message_record as record
from asepsis.core.wire.message_record import BatchGroup, Found, MessageFindings, MessagePeer

VECTORS = Path(__file__).parents[4] / "standard/vectors"
DEVICE = "urn:dev:mac:0123456789abcdef"
PEER = MessagePeer("monitor", "Europe/Berlin", ((b"MON-1^^^", DEVICE),))
peers = st.builds(
    MessagePeer,
    st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}", fullmatch=True),
    st.sampled_from(["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"]),
    st.lists(st.binary(min_size=1, max_size=40), max_size=4, unique=True).map(
        lambda words: tuple((word, DEVICE) for word in words)
    ),
)
findings = st.builds(
    MessageFindings,
    peers,
    st.integers(-840, 840),
    st.integers(0, record.SEQUENCE_MAX),
    st.integers(0, 31).map(Found),
)
groups = st.lists(st.tuples(findings, st.binary(min_size=1, max_size=200)), max_size=8)


def of(*bodies: bytes) -> bytes:
    return record.encode_group([(MessageFindings(PEER, 60, 5), body) for body in bodies])


@given(groups)
def test_a_group_comes_back_as_it_was(messages: list[tuple[MessageFindings, bytes]]) -> None:
    entries = record.decode_group(record.encode_group(messages), sequence=7)
    assert [(entry.findings, entry.body) for entry in entries] == messages
    assert [(entry.sequence, entry.index) for entry in entries] == [
        (7, index) for index in range(len(messages))
    ]


@given(st.data())
def test_a_group_that_is_cut_or_longer_is_refused(data: st.DataObject) -> None:
    whole = record.encode_group(data.draw(groups))
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(InputError):
        record.decode_group(whole[:cut])
    with pytest.raises(FramingError):
        record.decode_group(whole + b"x")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for head in (b"", record.GROUP_MAGIC, of(b"MSH")[:40]):
        try:
            record.decode_group(head + data)
        except InputError:
            continue


def test_each_field_outside_its_range_is_refused() -> None:
    whole = bytearray(of(b"MSH|"))
    at = len(whole) - 4 - 16
    for offset, value in ((0, 1), (1, 64), (2, 0x7F), (4, 0x80)):
        wrong = bytearray(whole)
        wrong[at + offset] = value
        with pytest.raises(FramingError):
            record.decode_group(bytes(wrong))


def test_a_peer_names_a_word_once() -> None:
    twice = MessagePeer("p", "UTC", ((b"A", DEVICE), (b"A", DEVICE)))
    with pytest.raises(FramingError):
        record.decode_group(record.encode_group([(MessageFindings(twice, 0, 0), b"m")]))


def test_limits() -> None:
    one = (MessageFindings(PEER, 0, 0), b"m")
    with pytest.raises(LimitExceeded):
        record.encode_group([one] * (record.MESSAGES_MAX + 1))
    with pytest.raises(LimitExceeded):
        record.encode_group([(one[0], bytes(record.GROUP_BYTES_MAX))])
    record.encode_group([(one[0], bytes(1 << 20))])


def test_a_record_without_findings_is_one_message() -> None:
    (entry,) = record.decode(record.KIND_MESSAGE, b"MSH|", sequence=3)
    assert (entry.sequence, entry.body, entry.findings) == (3, b"MSH|", None)
    with pytest.raises(InputError):
        record.decode("waveform", b"MSH|")


def test_a_batch_comes_back_and_its_sequences_ascend() -> None:
    sent = [BatchGroup(2, 10, of(b"a")), BatchGroup(5, record.AGE_UNKNOWN_MS, of(b"b", b"c"))]
    assert list(record.decode_batch(record.encode_batch(sent))) == sent
    for wrong in ([], [BatchGroup(0, 0, b"x")], [sent[1], sent[0]], [sent[0], sent[0]]):
        with pytest.raises(FramingError):
            record.decode_batch(record.encode_batch(wrong))
    with pytest.raises(FramingError):
        record.decode_batch(record.encode_batch(sent)[:-1])
    many = [BatchGroup(n + 1, 0, b"") for n in range(record.GROUPS_MAX + 1)]
    with pytest.raises(LimitExceeded):
        record.decode_batch(record.encode_batch(many))


def test_the_golden_vectors() -> None:
    vectors = json.loads((VECTORS / "message-batches.json").read_text("utf-8"))
    good = vectors["good"]
    entries = record.decode_group(bytes.fromhex(good["group"]))
    assert [
        {
            "peer": e.findings.peer.name,
            "zone": e.findings.peer.zone,
            "devices": [[word.decode(), device] for word, device in e.findings.peer.devices],
            "offset_min": e.findings.offset_min,
            "arrived_at_ns": e.findings.arrived_at_ns,
            "found": int(e.findings.found),
            "message": e.body.decode(),
        }
        for e in entries
        if e.findings is not None
    ] == good["messages"]
    assert record.decode_group(bytes.fromhex(good["empty_group"])) == ()
    groups = record.decode_batch(bytes.fromhex(good["batch"]))
    assert [{"sequence": g.sequence, "age_ms": g.age_ms} for g in groups] == good["groups"]
    assert {g.body.hex() for g in groups} == {good["group"]}
    for bad in vectors["bad_groups"]:
        with pytest.raises(InputError):
            record.decode_group(bytes.fromhex(bad["hex"]))
    for bad in vectors["bad_batches"]:
        with pytest.raises(InputError):
            record.decode_batch(bytes.fromhex(bad["hex"]))
