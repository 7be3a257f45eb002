"""What consumers and views are told."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import FramingError, InputError
from asepsis.core.journal.ports import Append, Record
from asepsis.core.model.identity import Assurance, DeviceId
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.model.observation import MeasurementStatus, Numeric, Observation
from asepsis.hub.delivery import records, rules, sse
from asepsis.hub.delivery.rules import NUMERIC_FRESH_NS, LiveQuery
from asepsis.hub.delivery.subscriber import EVENTS_MAX, Subscriber

DEVICE = "urn:dev:mac:0000000000000001"
QUERY = LiveQuery(frozenset({DEVICE}), waveforms=False, after=None)
RECORDS = st.builds(
    Record,
    st.integers(1, 2**63 - 1),
    st.builds(
        Append,
        lane=st.just(Lane.VITALS),
        account=st.sampled_from(Account),
        producer=st.text(min_size=1, max_size=40),
        epoch=st.integers(0, 2**63 - 1),
        sequence=st.integers(1, 2**63 - 1),
        kind=st.text(min_size=1, max_size=10),
        body=st.binary(max_size=200),
        received_at_ns=st.integers(0, 2**63 - 1),
    ),
)


class Batch:
    """Numerics of one device with chosen handles."""

    device = DEVICE
    received_at_ns = 0

    def __init__(self, *handles: int, status: MeasurementStatus = MeasurementStatus.VALID) -> None:
        self._handles = handles
        self._status = status

    def observations(self) -> list[Observation]:
        return [
            Observation(
                device=DeviceId(DEVICE),
                assurance=Assurance.DEVICE_ORIGIN,
                numeric=Numeric(
                    handle=handle,
                    mdc_code=147_842,
                    unit_code=264_864,
                    value=0xFF000000 | 366,
                    status=self._status,
                    offset_ms=0,
                ),
                epoch=1,
                sequence=1,
                device_time_ns=0,
                received_at_ns=0,
                late=False,
            )
            for handle in self._handles
        ]


@given(st.lists(RECORDS, max_size=5))
def test_records_come_back_as_they_were(given_records: list[Record]) -> None:
    assert records.from_binary(records.to_binary(given_records), Lane.VITALS) == given_records
    shown = json.loads(records.to_json(given_records))["records"]
    assert [r["position"] for r in shown] == [r.position for r in given_records]


@given(st.lists(RECORDS, min_size=1, max_size=3), st.data())
def test_truncated_records_are_refused(given_records: list[Record], data: st.DataObject) -> None:
    whole = records.to_binary(given_records)
    cut = whole[: data.draw(st.integers(1, len(whole) - 1))]
    try:
        found = records.from_binary(cut, Lane.VITALS)
    except FramingError:
        return
    assert found == given_records[: len(found)]


@pytest.mark.parametrize(
    "query",
    [
        b"lane=nonsense",
        b"",
        b"lane=vitals&max=0",
        b"lane=vitals&max=1001",
        b"lane=vitals&wait_s=16",
        b"lane=vitals&wait_s=-1",
        b"lane=vitals&lane=alert",
        b"lane=vitals&other=1",
        b"lane=vitals&max=1e3",
        b"lane=\xff",
        b"lane",
    ],
)
def test_bad_batch_queries_are_refused(query: bytes) -> None:
    with pytest.raises(InputError):
        rules.parse_batch_query(query)


def test_batch_query_has_defaults() -> None:
    assert rules.parse_batch_query(b"lane=alert") == rules.BatchQuery(Lane.ALERT, 100, 0)


def test_live_query_names_devices() -> None:
    found = rules.parse_live_query(b"device=a&device=b&waveforms=1", b"17")
    assert found == LiveQuery(frozenset({"a", "b"}), waveforms=True, after=17)
    for query, last in ((b"", None), (b"device=a&x=1", None), (b"device=a", b"x")):
        with pytest.raises(InputError):
            rules.parse_live_query(query, last)


def test_a_value_that_is_not_valid_is_no_number() -> None:
    """Goal: REQ-OBS-003, and decimals as the device shows them (REQ-OBS-002)."""
    valid = json.loads(sse.numerics(Batch(1).observations()).split(b"data: ")[1])
    assert valid["numerics"][0]["value"] == "36.6"
    batch = Batch(1, status=MeasurementStatus.INVALID)
    invalid = json.loads(sse.numerics(batch.observations()).split(b"data: ")[1])
    assert invalid["numerics"][0]["value"] is None
    assert invalid["numerics"][0]["status"] == "invalid"


def test_only_the_newest_numerics_wait() -> None:
    view = Subscriber(QUERY)
    for _ in range(10 * EVENTS_MAX):
        view.numerics(Batch(1))
    assert view.take(now_ns=0).count(b"event: numerics") == 1
    assert view.take(now_ns=0) == b""


def test_a_slow_view_is_cut_with_an_event() -> None:
    view = Subscriber(QUERY)
    for number in range(EVENTS_MAX + 1):
        view.push(b"x", position=number + 1)
    assert view.is_cut
    assert view.take(now_ns=0) == b'event: cut\ndata: {"reason":"slow"}\n\n'


def test_what_a_device_stops_sending_is_blanked() -> None:
    """Goal: a handle that disappears is blanked though its device goes on."""
    view = Subscriber(QUERY)
    view.numerics(Batch(1, 2))
    view.take(now_ns=0)
    view.numerics(Batch(1))
    assert b"stale" not in view.take(now_ns=NUMERIC_FRESH_NS - 1)
    blank = view.take(now_ns=NUMERIC_FRESH_NS)
    assert blank == sse.stale(DEVICE, [2])
    assert view.take(now_ns=2 * NUMERIC_FRESH_NS) == sse.stale(DEVICE, [1])
    assert view.take(now_ns=9 * NUMERIC_FRESH_NS) == b""


def test_replayed_alarms_are_not_told_twice() -> None:
    view = Subscriber(QUERY)
    for position in (3, 4, 5):
        view.push(b"%d" % position, position=position)
    assert view.take(now_ns=0, after=4) == b"5"
