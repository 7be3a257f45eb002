"""A proposed profile: what was seen, with counts; nothing of a patient, and no range."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asepsis.core.compliance.hl7 import Hl7Judge
from asepsis.core.compliance.learn import Learner, messages_in
from asepsis.core.compliance.profile import read_profile
from asepsis.core.errors import InputError
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.pcap import tcp_streams

DATA = Path(__file__).parents[4].parent / "shared" / "data"


def oru(number: int, value: bytes, name: bytes = b"DOE^JANE") -> bytes:
    return (
        b"MSH|^~\\&|MON|ICU|||2026||ORU^R01^ORU_R01|%d|P|2.6\rPID|||%d||" % (number, 4700 + number)
        + name
        + b"\rOBR|1|||1\rOBX|1|NM|147842^MDC_ECG_HEART_RATE^MDC|1.1.1|"
        + value
        + b"|264864^MDC_DIM_BEAT_PER_MIN^MDC|||||R\r"
    )


def test_a_proposal_takes_what_it_was_learned_from() -> None:
    learner = Learner()
    bodies = [oru(n, b"%d" % (60 + n)) for n in range(25)]
    for body in (*bodies, b"noise"):
        learner.take(body)
    text = learner.propose(name="acme-m3", models=("Acme M3",), source="a test")
    profile = read_profile(text.encode())
    assert "from 25 messages (1 unreadable)" in text
    assert profile.types == ("ORU^R01",)
    assert profile.header.senders == ("MON|ICU",)
    assert profile.header.versions == ("2.6",)
    assert {r.at for r in profile.required} >= {"PID", "PID-3", "OBX-5"}
    assert [t.at for t in profile.tables] == ["MSH-11", "OBX-2", "OBX-11"]
    assert [(m.code, m.unit, m.low, m.high) for m in profile.metrics] == [
        (147842, "/min", None, None)
    ]
    for body in bodies:
        assert not Hl7Judge(profile).body(body).unverified


def test_a_proposal_names_no_patient_and_no_measured_number() -> None:
    learner = Learner()
    for n in range(25):
        learner.take(oru(n, b"%d" % (171 + n)))
    text = learner.propose(name="a")
    assert "DOE" not in text
    assert "4711" not in text
    assert "181" not in text


def test_without_a_message_there_is_no_proposal() -> None:
    learner = Learner()
    learner.take(b"noise")
    with pytest.raises(InputError, match="no HL7"):
        learner.propose(name="a")


@example([b"|", b"|", b"|"], "")
@given(st.lists(st.binary(max_size=80), max_size=30), st.text(max_size=20))
def test_whatever_was_watched_a_proposal_is_a_profile(junk: list[bytes], source: str) -> None:
    """Goal: quotes, brackets and line ends in foreign fields stay inside their strings."""
    learner = Learner()
    for noise in junk:
        learner.take(oru(1, b"1").replace(b"|MON|", b"|" + noise + b"|").replace(b"|P|", noise))
    learner.take(oru(1, b'"]\n[severities]\nrange = "warn'))
    learner.take(oru(1, b"1", name=b'"""'))
    read_profile(learner.propose(name="a", source=source).encode())


def test_messages_are_cut_from_the_middle_of_a_stream() -> None:
    data = b"half\x1c\r\x0bone\x1c\rnoise\x0bbroken\x0btwo\x1c\r\x0bcut"
    assert list(messages_in(data)) == [b"one", b"two"]


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="public data folder is absent")
def test_a_real_capture_gives_its_messages() -> None:
    streams = tcp_streams((DATA / "captures" / "hl7.pcap").read_bytes())
    assert (streams.packets, streams.unread, streams.holes) == (9, 0, 0)
    bodies = [body for piece in streams.pieces for body in messages_in(piece.data)]
    assert [Message.parse(body).header.message_code for body in bodies] == ["ADT", "ACK"]
    learner = Learner()
    for body in bodies:
        learner.take(body)
    assert learner.messages == 2
    assert learner.propose(name="captured")
