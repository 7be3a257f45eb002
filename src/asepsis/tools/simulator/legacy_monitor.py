"""A monitor, ventilator or pump of the old kind: it knows no standard of ours, only PCD-01 by MLLP.

It restarts MSH-10 at 1 each day, as many devices do, and its times have the offset of no zone: it
writes what its own clock shows.

Source: IHE PCD Technical Framework volume 2 (PCD-01); HL7 v2.6 chapters 3 (ADT) and 7 (ORU).
"""

import socket
import ssl
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Final

from asepsis.core.errors import AsepsisError
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.hl7_build import Field, Fields, Writer, join_segments
from asepsis.core.wire.mllp import FrameReader, frame

CONNECT_S: Final = 3.0
ANSWER_S: Final = 10.0
WAITING_MAX: Final = 3_600
"""Messages kept for an hour of one a second; then the oldest is given up, as a device does."""
ACCEPTED: Final = frozenset(("AA", "CA"))
HIGH_HEART_RATE: Final = 152


@dataclass(frozen=True, slots=True)
class LegacySign:
    """One value that a device shows.

    Attributes:
        code: OBX-3.1 and OBX-3.2.
        unit: OBX-6.1 and OBX-6.2.
        path: OBX-4.
        rest: Value at rest.
        swing: Largest distance from it.
        decimals: Digits after the point.
    """

    code: tuple[str, str]
    unit: tuple[str, str]
    path: str
    rest: float
    swing: float
    decimals: int = 0


BEATS: Final = ("264864", "MDC_DIM_BEAT_PER_MIN")
BREATHS: Final = ("264928", "MDC_DIM_RESP_PER_MIN")
PERCENT: Final = ("262688", "MDC_DIM_PERCENT")
MMHG: Final = ("266016", "MDC_DIM_MMHG")
CM_H2O: Final = ("266048", "MDC_DIM_CM_H2O")
MILLI_L: Final = ("263762", "MDC_DIM_MILLI_L")
MILLI_L_PER_HR: Final = ("265266", "MDC_DIM_MILLI_L_PER_HR")
HEART_RATE: Final = ("147842", "MDC_ECG_HEART_RATE")


@dataclass(frozen=True, slots=True)
class LegacyKind:
    """A kind of device.

    Attributes:
        code: OBR-4.1 and OBR-4.2: what the device is.
        signs: What it shows.
    """

    code: tuple[str, str]
    signs: tuple[LegacySign, ...]


KINDS: Final[Mapping[str, LegacyKind]] = {
    "monitor": LegacyKind(
        ("69965", "MDC_DEV_MON_PHYSIO_MULTI_PARAM_MDS"),
        (
            LegacySign(HEART_RATE, BEATS, "1.1.1.1", 78, 6),
            LegacySign(("151562", "MDC_RESP_RATE"), BREATHS, "1.1.1.2", 15, 3),
            LegacySign(("150456", "MDC_PULS_OXIM_SAT_O2"), PERCENT, "1.1.2.1", 97, 1.5),
            LegacySign(("149530", "MDC_PULS_OXIM_PULS_RATE"), BEATS, "1.1.2.2", 78, 6),
            LegacySign(("150021", "MDC_PRESS_BLD_NONINV_SYS"), MMHG, "1.1.3.1", 121, 8),
            LegacySign(("150022", "MDC_PRESS_BLD_NONINV_DIA"), MMHG, "1.1.3.2", 77, 5),
            LegacySign(("150023", "MDC_PRESS_BLD_NONINV_MEAN"), MMHG, "1.1.3.3", 92, 6),
        ),
    ),
    "ventilator": LegacyKind(
        ("69913", "MDC_DEV_SYS_PT_VENT_MDS"),
        (
            LegacySign(("151586", "MDC_VENT_RESP_RATE"), BREATHS, "1.1.1.1", 16, 1),
            LegacySign(("151868", "MDC_VOL_AWAY_TIDAL"), MILLI_L, "1.1.1.2", 480, 25),
            LegacySign(("151976", "MDC_VENT_PRESS_AWAY_END_EXP_POS"), CM_H2O, "1.1.1.3", 6, 0.4, 1),
            LegacySign(("151973", "MDC_VENT_PRESS_AWAY_MAX"), CM_H2O, "1.1.1.4", 22, 2),
            LegacySign(("152196", "MDC_CONC_AWAY_O2_INSP"), PERCENT, "1.1.1.5", 40, 0),
        ),
    ),
    "pump": LegacyKind(
        ("69985", "MDC_DEV_PUMP_INFUS_MDS"),
        (
            LegacySign(("157784", "MDC_FLOW_FLUID_PUMP"), MILLI_L_PER_HR, "1.1.1.1", 12.5, 0, 1),
            LegacySign(("157872", "MDC_VOL_FLUID_TBI_REMAIN"), MILLI_L, "1.1.1.2", 31.4, 0.2, 1),
        ),
    ),
}


class LegacyDevice:
    """Writes its messages.

    Args:
        kind: One of `KINDS`.
        eui64: Sixteen hexadecimal digits, what OBX-18 says.
        sender: MSH-3 and MSH-4.
        rng: Noise of its values.
    """

    def __init__(self, kind: str, *, eui64: str, sender: tuple[str, str], rng: Random) -> None:
        self._kind = KINDS[kind]
        self._eui64 = eui64.upper()
        self._sender = sender
        self._rng = rng
        self._control = Control()
        self.high = False
        """Whether the heart rate is above every limit."""

    def message(self, shown: datetime) -> tuple[str, bytes]:
        """Return MSH-10 and the message of one moment.

        Args:
            shown: What the device's own clock shows.
        """
        writer, at = Writer(), stamp(shown)
        control = self._control.next(shown)
        device = (self._eui64, "", self._eui64, "EUI-64")
        mds: Fields = {1: "1", 3: (*self._kind.code, "MDC"), 4: "1.0.0.0", 11: "X", 18: device}
        rows = [writer.segment("OBX", mds)]
        for number, sign in enumerate(self._kind.signs, 2):
            row: Fields = {
                1: str(number),
                2: "NM",
                3: (*sign.code, "MDC"),
                4: sign.path,
                5: self._value(sign),
                6: (*sign.unit, "MDC"),
                11: "R",
                14: at,
            }
            rows.append(writer.segment("OBX", row))
        order: Fields = {1: "1", 4: (*self._kind.code, "MDC"), 7: at}
        head = header(writer, self._sender, ("ORU", "R01", "ORU_R01"), control=control, at=at)
        segments = [head, writer.segment("PID", {1: "1"}), writer.segment("OBR", order), *rows]
        return control, join_segments(segments)

    def _value(self, sign: LegacySign) -> str:
        if self.high and sign.code == HEART_RATE:
            return str(HIGH_HEART_RATE)
        return f"{sign.rest + self._rng.uniform(-sign.swing, sign.swing):.{sign.decimals}f}"


class Control:
    """Counts MSH-10 from 1 each day."""

    def __init__(self) -> None:
        self._day = ""
        self._last = 0

    def next(self, shown: datetime) -> str:
        """Return the next number of the day that a clock shows."""
        day = f"{shown:%Y%m%d}"
        self._last = self._last + 1 if day == self._day else 1
        self._day = day
        return str(self._last)


def stamp(shown: datetime) -> str:
    """Write what a clock shows, without an offset."""
    return f"{shown:%Y%m%d%H%M%S}"


def header(
    writer: Writer, sender: tuple[str, str], kind: Sequence[str], *, control: str, at: str
) -> bytes:
    """Return MSH in original mode: MSH-15 and MSH-16 are empty."""
    fields: dict[int, Field] = {
        3: sender[0],
        4: sender[1],
        5: "GATEWAY",
        7: at,
        9: tuple(kind),
        10: control,
        11: "P",
        12: "2.6",
    }
    return writer.segment("MSH", fields)


class MllpSender:
    """Sends messages one after the other and keeps each until it is acknowledged.

    Args:
        address: Host and port of the gateway.
        source: Address to come from; "" lets the kernel choose.
        tls: None speaks clear text.

    Resource handling: `close` ends the connection.
    """

    def __init__(
        self, address: tuple[str, int], *, source: str = "", tls: ssl.SSLContext | None = None
    ) -> None:
        self._address = address
        self._source = (source, 0) if source else None
        self._tls = tls
        self._socket: socket.socket | None = None
        self._frames = FrameReader()
        self.waiting: deque[tuple[str, bytes]] = deque(maxlen=WAITING_MAX)
        """MSH-10 and message, oldest first."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._socket is not None

    def exchange(self) -> tuple[str, str]:
        """Send the oldest message; return its MSH-10 and MSA-1, "" if there was no answer.

        A message with an answer is done with, whatever it says; without one it stays.
        """
        control, message = self.waiting[0]
        try:
            connection = self._socket or self._connect()
            connection.sendall(frame(message))
            answer = self._answer(connection)
        except (OSError, AsepsisError):
            self.close()
            return control, ""
        self.waiting.popleft()
        return control, answer.get("MSA-1")

    def close(self) -> None:
        """End the connection."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _connect(self) -> socket.socket:
        made = socket.create_connection(self._address, CONNECT_S, source_address=self._source)
        if self._tls is not None:
            made = self._tls.wrap_socket(made, server_hostname=self._address[0])
        made.settimeout(ANSWER_S)
        self._frames = FrameReader()
        self._socket = made
        return made

    def _answer(self, connection: socket.socket) -> Message:
        while (payload := self._frames.next_frame()) is None:
            chunk = connection.recv(65_536)
            if not chunk:
                raise ConnectionError("the connection ended without an answer")
            self._frames.feed(chunk)
        return Message.parse(payload)
