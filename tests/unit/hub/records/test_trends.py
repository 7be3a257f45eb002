"""The fast way of trends against the plain one, value by value."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.model.identity import Assurance
from asepsis.core.model.observation import MeasurementStatus, Numeric
from asepsis.core.model.time import UNSYNCHRONISED_MS
from asepsis.hub.records import entries, trends
from asepsis.hub.records.blocks import Order, decode_groups, encode_block
from asepsis.hub.records.entries import Mark, Origin, Source

S, START = 1_000_000_000, 1_700_000_000_000_000_000
HANDLES = (1, 2, 513)

numerics = st.builds(
    Numeric,
    handle=st.sampled_from(HANDLES),
    mdc_code=st.just(147_842),
    unit_code=st.just(264_864),
    value=st.sampled_from((60, 61, 0x007FFFFF)),
    status=st.sampled_from(MeasurementStatus),
    offset_ms=st.sampled_from((0, 0, 300, 40_000)),
)
origins = st.builds(
    Origin,
    start_ns=st.integers(0, 50).map(lambda n: START + n * S),
    received_at_ns=st.integers(0, 60).map(lambda n: START + n * S),
    device_start_ns=st.integers(0, 50).map(lambda n: START + n * S),
    epoch=st.just(3),
    sequence=st.integers(1, 9),
    uncertainty_ms=st.sampled_from((0, 10, 3_000, UNSYNCHRONISED_MS)),
    source=st.sampled_from((Source.BATCH, Source.BATCH, Source.BESIDE, Source.MESSAGE)),
    assurance=st.sampled_from(Assurance),
    marks=st.sampled_from((Mark.NONE, Mark.NONE, Mark.LATE, *Mark)),
    producer_tag=st.just(bytes(8)),
)
stretches = st.none() | st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 60)).map(
        lambda pair: (START + pair[0] * S, START + (pair[0] + pair[1]) * S)
    ),
    max_size=3,
)


def even(origin: Origin, values: Sequence[int], status: MeasurementStatus) -> bytes:
    rows = (
        Numeric(handle=h, mdc_code=1, unit_code=1, value=v, status=status, offset_ms=0)
        for h, v in zip(HANDLES, values, strict=True)
    )
    return entries.encode_numerics(origin, entries.numeric_block(rows))


def uneven(origin: Origin, rows: Sequence[Numeric]) -> bytes:
    return entries.encode_numerics(origin, entries.numeric_block(rows))


uneven_entries = st.builds(uneven, origins, st.lists(numerics, min_size=1, max_size=4))
even_entries = st.builds(
    even,
    origins,
    st.tuples(*[st.sampled_from((60, 61, 0x007FFFFF))] * 3),
    st.sampled_from(MeasurementStatus),
)


@given(
    stored=st.lists(uneven_entries, max_size=8) | st.lists(even_entries, max_size=20),
    order=st.sampled_from(Order),
    handle=st.sampled_from(HANDLES),
    stretches=stretches,
)
def test_columns_say_what_entries_say(
    stored: list[bytes], order: Order, handle: int, stretches: list[tuple[int, int]] | None
) -> None:
    """Goal: whatever stands in a block, nobody gets a value that the plain way does not give."""
    groups = decode_groups(encode_block(stored, order))
    numbers = trends.Numbers()
    fast = sorted(
        sample
        for times, values in trends.samples_of(
            groups, handle=handle, stretches=stretches, numbers=numbers
        )
        for sample in zip(times, map(str, values), strict=True)
    )
    times, values = trends.entry_samples(
        set(stored), handle=handle, stretches=stretches, numbers=trends.Numbers()
    )
    assert fast == sorted(zip(times, map(str, values), strict=True))


def test_what_named_another_patient_is_in_nobodys_trend() -> None:
    """Goal: a message that names another patient than the bed's is charted to neither."""
    origin = Origin(
        start_ns=START, received_at_ns=START, device_start_ns=START, epoch=1, sequence=1,
        uncertainty_ms=0, source=Source.MESSAGE, assurance=Assurance.SOURCE_CLAIMED,
        marks=Mark.OTHER_PATIENT, producer_tag=bytes(8),
    )  # fmt: skip
    stored = [even(origin, (60, 61, 62), MeasurementStatus.VALID)]
    groups = decode_groups(encode_block(stored))
    within = [(START - S, START + S)]
    found = trends.samples_of(groups, handle=1, stretches=within, numbers=trends.Numbers())
    assert [list(times) for times, _ in found] == [[]]


samples = st.lists(
    st.tuples(st.integers(0, 200), st.none() | st.integers(0, 9).map(float)), max_size=60
)


@given(columns=st.lists(samples, max_size=4), points_max=st.integers(2, 30))
def test_thinning_keeps_the_peaks_of_every_stretch(
    columns: list[list[tuple[int, float | None]]], points_max: int
) -> None:
    from_ns, to_ns = 20, 180
    given_ = [([t for t, _ in column], [v for _, v in column]) for column in columns]
    points = trends.thin(given_, from_ns=from_ns, to_ns=to_ns, points_max=points_max)
    whole: dict[int, float | None] = {}
    for column in columns:
        for t, value in column:
            if from_ns <= t < to_ns and (value is not None or t not in whole):
                whole[t] = value
    if len(whole) <= points_max:
        assert points == sorted(whole.items())
        return
    width = -(-(to_ns - from_ns) // (points_max // 2))
    expected: list[tuple[int, float | None]] = []
    for start in range(from_ns, to_ns, width):
        group = [(t, whole[t]) for t in sorted(whole) if start <= t < start + width]
        good = [(v, t) for t, v in group if v is not None]
        if good:
            expected += sorted({(t, v) for v, t in (min(good), max(good))})
        elif group:
            expected.append((group[0][0], None))
    assert points == expected
    assert len(points) <= points_max
