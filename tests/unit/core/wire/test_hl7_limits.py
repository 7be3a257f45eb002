"""Limits and linear time on hostile messages."""

import time
from collections.abc import Callable

import pytest

from asepsis.core.errors import LimitExceeded
from asepsis.core.wire.hl7 import DEFAULT_LIMITS, Hl7Limits, Message, MessageReader

HEAD = b"MSH|^~\\&|A\r"
WIDE = Hl7Limits(
    bytes_max=64_000_000,
    segments_max=4_000_000,
    fields_total_max=8_000_000,
    fields_max=8_000_000,
    repetitions_max=8_000_000,
    components_max=8_000_000,
    subcomponents_max=8_000_000,
)


@pytest.mark.parametrize(
    ("at", "over", "limits"),
    [
        (HEAD + b"PID|1\r", HEAD + b"PID|12\r", Hl7Limits(bytes_max=17)),
        (HEAD + b"PID|1\r", HEAD + b"PID|1\rPV1\r", Hl7Limits(segments_max=2)),
        (HEAD + b"PID|1\r", HEAD + b"PID|1|\r", Hl7Limits(fields_total_max=5)),
        (HEAD + b"PID|1|2\r", HEAD + b"PID|1|2|3\r", Hl7Limits(fields_max=2)),
        (HEAD + b"PID|1~2~3\r", HEAD + b"PID|1~2~3~4\r", Hl7Limits(repetitions_max=3)),
        (HEAD + b"PID|1^2~3\r", HEAD + b"PID|1^2~3^4\r", Hl7Limits(components_max=3)),
        (HEAD + b"PID|1&2^3&4\r", HEAD + b"PID|1&2^3&4&5\r", Hl7Limits(subcomponents_max=3)),
    ],
)
def test_each_limit_is_inclusive(at: bytes, over: bytes, limits: Hl7Limits) -> None:
    reader = MessageReader(limits=limits)
    for _ in range(2):
        assert reader.parse(at).names[1] == b"PID"
        with pytest.raises(LimitExceeded):
            reader.parse(over)


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"OBX|1\r" * 100_000,
        HEAD + b"PID|" + b"~" * 50_000 + b"\r",
        HEAD + b"PID|" + b"x" * 5_000_000 + b"\r",
        HEAD + b"PID" + b"|" * 50_000 + b"\r",
        HEAD + (b"OBX" + b"|" * 9_000 + b"\r") * 100,
        HEAD + b"PID|" + b"^" * 100_000 + b"\r",
        HEAD + b"PID|" + b"&" * 100_000 + b"\r",
    ],
    ids=[
        "segments",
        "repetitions",
        "field-bytes",
        "fields",
        "total",
        "components",
        "subcomponents",
    ],
)
def test_the_defaults_refuse_what_no_sender_needs(data: bytes) -> None:
    with pytest.raises(LimitExceeded):
        Message.parse(data)


def test_the_defaults_take_a_waveform_and_a_document() -> None:
    """Goal: one OBX-5 with 60,000 samples, and half a megabyte of base64."""
    wave = b"^".join(b"%d" % (i % 100) for i in range(60_000))
    message = Message.parse(HEAD + b"OBX|1|NA|||" + wave + b"\rOBX|2|ED|||" + b"QUJD" * 125_000)
    assert message.raw("OBX-5.59999") == b"98"
    assert len(message.raw("OBX[2]-5")) == 500_000
    assert len(bytes(message)) < DEFAULT_LIMITS.bytes_max


def _everything(data: bytes) -> None:
    message = Message.parse(data, limits=WIDE)
    message.columns("OBX", 1, 5)
    message.repetitions("PID-3")
    for path in ("PID-3[40000].2", "PID-3.40000", "PID-3.1.40000", "OBX[2]-5", "PID-40000"):
        message.get(path)
        message.span(path)
    sum(1 for _ in message.segments("OBX"))


GROWING: dict[str, Callable[[int], bytes]] = {
    "segments": lambda n: HEAD + b"OBX|1||||2\r" * n,
    "empty-segments": lambda n: HEAD + b"\r" * n,
    "names-only": lambda n: HEAD + b"OBX\r" * n,
    "line-feeds": lambda n: HEAD.replace(b"\r", b"\r\n") + b"OBX|1\r\n" * n,
    "fields": lambda n: HEAD + b"PID" + b"|1" * n,
    "repetitions": lambda n: HEAD + b"PID|||" + b"1~" * n,
    "components": lambda n: HEAD + b"PID|||" + b"1^" * n,
    "subcomponents": lambda n: HEAD + b"PID|||" + b"1&" * n,
    "field-bytes": lambda n: HEAD + b"PID|||" + b"x" * (50 * n),
    "escape-characters": lambda n: HEAD + b"PID|||" + b"\\" * n,
    "escapes": lambda n: HEAD + b"PID|||" + b"\\T\\" * n,
    "open-hex-escapes": lambda n: HEAD + b"PID|||" + b"\\X" + b"00" * n,
    "hex-escapes-never-closed": lambda n: HEAD + b"PID|||" + b"\\X00" * n,
    "names-all-different": lambda n: (
        HEAD + b"".join(b"Z%c%c|1\r" % (65 + i % 26, 65 + i // 26 % 26) for i in range(n))
    ),
}


def _best_cpu_s(data: bytes) -> float:
    def once() -> float:
        start = time.process_time()
        _everything(data)
        return time.process_time() - start

    return min(once() for _ in range(5))


@pytest.mark.parametrize("kind", GROWING)
def test_time_grows_as_the_bytes_do(kind: str) -> None:
    """Goal: eight times the input costs about eight times; quadratic code would cost 64 times."""
    make = GROWING[kind]
    small, large = _best_cpu_s(make(12_500)), _best_cpu_s(make(100_000))
    assert large < 20 * small + 0.02


def test_known_hostile_messages_are_fast() -> None:
    """Goal: what stops the `hl7` package for seconds is over in a blink, measured in CPU time."""
    for make, n in (("segments", 100_000), ("repetitions", 50_000), ("field-bytes", 100_000)):
        data = GROWING[make](n)
        start = time.process_time()
        Message.parse(data, limits=WIDE)
        assert time.process_time() - start < 0.5
