"""Sessions with the reference provider of sdc11073: what is told, lost, and read again."""

import datetime as dt
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from driver_ward import free_port
from sdc11073.certloader import mk_ssl_contexts
from sdc11073.consumer.consumerimpl import SdcConsumer
from sdc11073.definitions_sdc import SdcV1Definitions
from session_bench import IDENTITY, Heard, Wire, plan_for

from asepsis.core.model.observation import MeasurementStatus
from asepsis.edge.gateway.drivers.sdk import Linked, Samples, float_of
from asepsis.edge.gateway.sdc.session import silence_library
from asepsis.tools.testing import sdc_mdib, sdc_ventilator
from asepsis.tools.testing.sdc_credentials import Files, SegmentAuthority

PEEP = 151_976


@dataclass
class Room:
    """A ventilator that can be replaced, and the way to it."""

    authority: SegmentAuthority
    files: Files
    own: Files
    port: int
    wire: Wire
    process: "subprocess.Popen[str] | None" = None

    def start(self) -> None:
        self.process, _ = sdc_ventilator.start_process(
            self.authority.file, self.files, port=self.port
        )
        # What it says is of no use here, and must not fill its pipe.
        threading.Thread(target=list, args=(self.process.stdout,), daemon=True).start()

    def tell(self, command: str) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    silence_library()
    folder: Path = tmp_path_factory.mktemp("room")
    authority = SegmentAuthority(folder, now=dt.datetime.now(dt.UTC))
    files = authority.issue("ventilator", uri=IDENTITY, address="127.0.0.1")
    own, port = authority.issue("gateway"), free_port()
    made = Room(authority, files, own, port, Wire(plan_for(authority, own, port)))
    made.start()
    yield made
    made.end()
    made.wire.close()


@pytest.fixture
def heard(room: Room) -> Iterator[Heard]:
    made = Heard(room.wire).running()
    yield made
    room.tell("lose nothing")
    room.tell("validity Vld")
    room.tell("alarm off")
    room.tell("go")
    made.end()


def test_metrics_waveforms_and_alerts_are_told_and_nothing_invalid_has_a_number(
    room: Room, heard: Heard
) -> None:
    heard.until(lambda: {one.code for one in heard.of(Samples)} == {w.code for w in sdc_mdib.WAVES})
    for row in sdc_mdib.METRICS:
        assert heard.value(row.code).unit == row.unit
    assert heard.active() == []
    room.tell("hold")
    room.tell("change 33")
    heard.until(lambda: heard.value(PEEP).value == float_of(Decimal(33)))
    room.tell("alarm on")
    heard.until(lambda: heard.active() == [sdc_mdib.APNOEA])
    room.tell("alarm off")
    heard.until(lambda: heard.active() == [])
    room.tell("validity Inv")
    room.tell("change 34")
    heard.until(lambda: heard.value(PEEP).status is MeasurementStatus.INVALID)
    assert heard.value(PEEP).value == float_of(None)


def test_an_alert_whose_report_was_lost_shows_after_the_mdib_was_read_again(
    room: Room, heard: Heard
) -> None:
    room.tell("lose reports")
    room.tell("alarm on")
    heard.until(lambda: heard.active() == [sdc_mdib.APNOEA])
    assert not heard.ended


def test_reports_that_stay_out_end_the_session_although_the_device_answers(
    room: Room, heard: Heard
) -> None:
    room.tell("lose all")
    heard.until(lambda: heard.ended)
    assert heard.ended == "reports-missing"


def test_the_consumer_of_the_library_reads_the_same_ventilator(room: Room) -> None:
    """The peer is a provider for others too, not for this gateway only."""
    context = mk_ssl_contexts(room.own.key, room.own.chain, room.authority.file)
    library: Any = SdcConsumer
    consumer = library(f"https://127.0.0.1:{room.port}/{sdc_mdib.PATH}", SdcV1Definitions, context)
    consumer.start_all()
    try:
        states = consumer.get_service_client.get_mdib().result[1]
    finally:
        consumer.stop_all()
    handles = {state.DescriptorHandle for state in states}
    assert {row.handle for row in (*sdc_mdib.METRICS, *sdc_mdib.WAVES)} <= handles


def test_a_restarted_ventilator_is_a_new_session_with_everything_read_anew(
    room: Room, heard: Heard
) -> None:
    room.tell("alarm on")
    heard.until(lambda: heard.active() == [sdc_mdib.APNOEA])
    room.end()
    heard.until(lambda: heard.ended)
    assert heard.ended in {"no-answer", "subscription"}
    room.start()
    again = Heard(room.wire).running()
    try:
        assert again.of(Linked)
        assert again.active() == []
    finally:
        again.end()
