"""What a real IntelliVue monitor (M8000, release G.01.80) said, read by our driver.

The recording is public (jaj42/intellipy, MIT) and lies in the public data folder: nine datagrams of
one session, with linked results, waveforms of five objects and an empty alert list.
"""

from pathlib import Path

import pytest

from asepsis.core.model.observation import MeasurementStatus
from asepsis.core.wire import float_type
from asepsis.core.wire import intellivue_session as session
from asepsis.edge.gateway.drivers.intellivue import IntelliVue
from asepsis.edge.gateway.drivers.sdk import Conditions, Fault, Linked, Output, Samples, Values

RECORDING = Path(__file__).parents[3] / "shared/data/intellivue/enumeration_replies.hex"
ACCEPT = bytes.fromhex(
    "0ece0508130100160102800014020002c1be3180a0808001010000a280a003000001a5803080800100810251"
    "0100003080800100810c2a8648ce14020100000002010000000061803080020101a0806180a180060c2a8648"
    "ce14020100000003010000a203020100a305a103020100be8028800201028148800000004000000000000000"
    "0080000080000000000000000001002c00010028800000000004e200000005b0000005b0ffffffff60000000"
    "0001000cf00100088c0000000000000000000000000000000000000000000000"
)
"""Its association response, which the recording of nine datagrams leaves out."""

pytestmark = pytest.mark.data


def test_the_driver_reads_a_real_monitor() -> None:
    if not RECORDING.exists():
        pytest.skip("public data folder is absent")
    lines = [n for n in RECORDING.read_text().splitlines() if n and not n.startswith("#")]
    machine = IntelliVue()
    machine.start(0)
    assert session.decode_accept(ACCEPT).datagram_bytes == 1_456
    assert machine.receive(ACCEPT, 1) == ()
    outputs: list[Output] = []
    for number, line in enumerate(lines, start=2):
        outputs += machine.receive(bytes.fromhex(line), number * 100_000_000)
    assert len(lines) == 9
    assert not [output for output in outputs if isinstance(output, Fault)]
    assert Linked("Philips") in outputs
    values = {
        value.code: value
        for output in outputs
        if isinstance(output, Values)
        for value in output.values
    }
    # The monitor was in its demonstration mode, and says so with every value.
    assert {value.status for value in values.values()} == {MeasurementStatus.TEST}
    shown = {
        147_842: "60",
        151_562: "15",
        150_456: "95.0",
        150_037: "120",
        150_038: "70",
        150_039: "91",
    }
    assert {code: str(float_type.to_decimal(values[code].value)) for code in shown} == shown
    waves = {output.code for output in outputs if isinstance(output, Samples)}
    assert waves == {150_036, 150_452, 151_552}
    assert Conditions(()) in outputs
