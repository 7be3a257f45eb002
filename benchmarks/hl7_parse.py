"""How many HL7 v2 messages a second one core reads: ours beside `hl7`, `hl7lw` and a limit program.

One message is an IHE PCD-01 ORU^R01 of 34 segments. Every reader does the reads of a gateway on
every message: MSH-3, -4, -9, -10, -12, -15, -16, -18, PID-3 and OBX-3, -5, -6, -18 of all 30 OBX.
The messages differ in control id, time and every value. Figures are CPU time of one thread, median
of 5 runs. The limit program only cuts bytes (no checks, no numbering, no absent fields).

Ours hands out columns of bytes (a device code is looked up, and a number read, from bytes), the
limit program rows of bytes, the peers rows of `str`. "ours, as text" decodes every value too and
makes rows; "ours, first message" is a message whose shape the connection has not seen yet.

Run: .venv/bin/python benchmarks/hl7_parse.py
"""

import random
import sys
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from statistics import median

import hl7
import hl7lw

from _report import report
from asepsis.core.wire.hl7 import Message, MessageReader

TARGET_PER_S = 50_000
RUNS = 5
MESSAGES = 512
SLICES = 40
Reader = Callable[[bytes], object]
MSH = (3, 4, 9, 10, 12, 15, 16, 18)
OBX = (3, 5, 6, 18)
METRICS = (
    ("147842^MDC_ECG_HEART_RATE^MDC", "264864^MDC_DIM_BEAT_PER_MIN^MDC"),
    ("150456^MDC_PULS_OXIM_SAT_O2^MDC", "262688^MDC_DIM_PERCENT^MDC"),
    ("149530^MDC_PULS_OXIM_PULS_RATE^MDC", "264864^MDC_DIM_BEAT_PER_MIN^MDC"),
    ("150037^MDC_PRESS_BLD_ART_ABP_SYS^MDC", "266016^MDC_DIM_MMHG^MDC"),
    ("150038^MDC_PRESS_BLD_ART_ABP_DIA^MDC", "266016^MDC_DIM_MMHG^MDC"),
    ("150039^MDC_PRESS_BLD_ART_ABP_MEAN^MDC", "266016^MDC_DIM_MMHG^MDC"),
    ("151562^MDC_RESP_RATE^MDC", "264928^MDC_DIM_RESP_PER_MIN^MDC"),
    ("150344^MDC_TEMP^MDC", "268192^MDC_DIM_DEGC^MDC"),
    ("151708^MDC_CONC_AWAY_CO2_ET^MDC", "266016^MDC_DIM_MMHG^MDC"),
)
CONTAINMENT = {
    "1.0.0.0": "69965^MDC_DEV_MON_PHYSIO_MULTI_PARAM_MDS",
    "1.1.0.0": "69642^MDC_DEV_ANALY_SAT_O2_VMD",
    "1.1.1.0": "69643^MDC_DEV_ANALY_SAT_O2_CHAN",
    "1.2.0.0": "69798^MDC_DEV_ECG_VMD",
    "1.2.1.0": "69799^MDC_DEV_ECG_CHAN",
    "1.2.2.0": "69855^MDC_DEV_METER_PRESS_BLD_CHAN",
}
DEVICE = "^^00091EFFFE80AAB1^EUI-64"


def pcd01(number: int, rng: random.Random) -> bytes:
    """Return one ORU^R01: MSH, PID, PV1, OBR, 6 OBX of containment and 24 of metrics."""
    stamp = f"20261103101{number % 60:02d}0.123+0000"
    sender = "MON_B850^00091EFFFE80AAB1^EUI-64"
    profile = "IHE_PCD_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO"
    head = (
        (
            f"MSH|^~\\&|{sender}|ICU|GW|HOSP|{stamp}||ORU^R01^ORU_R01|8A1F{number:08d}|P|2.6|||NE|AL||"
            f"UNICODE UTF-8|||{profile}"
        ),
        "PID|||4711^^^HOSP^PI||Muster^Eva^^^^^L||19600101|F",
        "PV1||I|ICU^1^7^HOSP",
        f"OBR|1|{number}^MON|{number}^MON|182777000^monitoring of patient^SCT|||{stamp}",
    )
    containment = (
        f"OBX|{i}||{code}^MDC|{place}|||||||X|||{stamp}||||{DEVICE}"
        for i, (place, code) in enumerate(CONTAINMENT.items(), 1)
    )
    metrics = (
        f"OBX|{i}|NM|{code}|1.{1 + i % 2}.{1 + i % 3}.{i}|{rng.uniform(10, 200):.1f}|{unit}|50-120"
        f"||||R|||{stamp}||||{DEVICE}"
        for i, (code, unit) in enumerate(islice(cycle(METRICS), 24), 7)
    )
    return "\r".join((*head, *containment, *metrics, "")).encode()


def read_ours(reader: MessageReader) -> Reader:
    """Read with one reader, as a gateway does on one connection."""

    def read(data: bytes) -> object:
        message = reader.parse(data)
        first = message.first
        return first("MSH", *MSH), first("PID", 3), message.columns("OBX", *OBX)

    return read


def read_first(data: bytes) -> object:
    """Read as if each message came on a new connection."""
    message = Message.parse(data)
    return message.first("MSH", *MSH), message.first("PID", 3), message.columns("OBX", *OBX)


def read_text(reader: MessageReader) -> Reader:
    """Read and decode every value, whole fields, as the peers hand them out."""

    def read(data: bytes) -> object:
        message = reader.parse(data)
        codec = message.character_set.codec
        rows = zip(*message.columns("OBX", *OBX), strict=True)
        head = [value.decode(codec) for value in message.first("MSH", *MSH)]
        patient = message.first("PID", 3)[0].decode(codec)
        return head, patient, [[value.decode(codec) for value in row] for row in rows]

    return read


def read_hl7(data: bytes) -> object:
    """Read with the `hl7` package."""
    message = hl7.parse(data, encoding="utf-8")
    head = message.segment("MSH")
    return (
        [str(head[n]) for n in MSH],
        str(message.segment("PID")[3]),
        [_hl7_row(segment) for segment in message.segments("OBX")],
    )


def _hl7_row(segment: Sequence[object]) -> list[str]:
    return [str(segment[n]) if n < len(segment) else "" for n in OBX]


def read_hl7lw(data: bytes) -> object:
    """Read with the `hl7lw` package, with a parser made once."""
    message = _HL7LW.parse_message(data, encoding="utf-8")
    head = message.get_segment("MSH")
    return (
        [head[n] for n in MSH],
        message.get_segment("PID")[3],
        [[segment[n] for n in OBX] for segment in message.get_segments("OBX")],
    )


_HL7LW = hl7lw.Hl7Parser()


def read_limit(data: bytes) -> object:
    """Cut bytes and nothing else."""
    rows = []
    head = patient = b""
    for segment in data.split(b"\r"):
        name = segment[:3]
        if name == b"OBX":
            field = segment.split(b"|")
            rows.append((field[3], field[5], field[6], field[18]))
        elif name == b"MSH":
            head = segment.split(b"|")
        elif name == b"PID":
            patient = segment.split(b"|")[3]
    return [head[n - 1] for n in MSH], patient, rows


def one_run(readers: dict[str, tuple[Reader, int]], messages: list[bytes]) -> dict[str, float]:
    """Return messages per second of CPU time of each reader.

    The readers take turns in short slices, so that whatever else the machine does meets them all.
    """
    spent = dict.fromkeys(readers, 0.0)
    for _ in range(SLICES):
        for name, (read, count) in readers.items():
            share = messages[:count]
            start = time.process_time()
            for data in share:
                read(data)
            spent[name] += time.process_time() - start
    return {name: count * SLICES / spent[name] for name, (_, count) in readers.items()}


def main() -> int:
    """Measure, check that all readers read the same, print the figures and the JSON line."""
    rng = random.Random(2)
    messages = [pcd01(number, rng) for number in range(MESSAGES)]
    size = sum(map(len, messages)) // len(messages)
    readers: dict[str, tuple[Reader, int]] = {
        "ours": (read_ours(MessageReader()), MESSAGES),
        "ours, as text": (read_text(MessageReader()), MESSAGES),
        "ours, first message": (read_first, MESSAGES // 4),
        "limit (bytes.split)": (read_limit, MESSAGES),
        "hl7lw": (read_hl7lw, MESSAGES // 4),
        "hl7": (read_hl7, MESSAGES // 128),
    }
    as_text = readers["ours, as text"][0](messages[0])
    assert as_text == read_hl7(messages[0]) == read_hl7lw(messages[0])
    print(f"{len(Message.parse(messages[0]))} segments, {size} bytes, CPU time, median of {RUNS}")
    one_run(readers, messages)  # Warm up.
    runs = [one_run(readers, messages) for _ in range(RUNS)]
    figures = {name: median(run[name] for run in runs) for name in readers}
    for name, figure in figures.items():
        print(f"{name:22} {figure:10.0f} messages/s")
    met = report(
        "hl7-parse",
        figures["ours"],
        "messages/s",
        peer="hl7lw",
        peer_value=figures["hl7lw"],
        target=TARGET_PER_S,
        reads="MSH-3,4,9,10,12,15,16,18; PID-3; OBX-3,5,6,18 of 30 OBX; columns of bytes",
        message_bytes=size,
        others_per_s={name: round(figure) for name, figure in figures.items()},
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
