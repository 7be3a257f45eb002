"""The picture of a trend: gaps stay open, and every point is inside."""

from hypothesis import given
from hypothesis import strategies as st

from asepsis.hub.console.trend import GAP_NS, HEIGHT, SPANS_NS, WIDTH, draw, window
from asepsis.hub.records.ports import TrendPoint

HOUR = 3_600_000_000_000
POINTS = st.lists(
    st.tuples(st.integers(0, HOUR - 1), st.none() | st.floats(-1e6, 1e6)), max_size=80
)


def test_nothing_is_drawn_where_nothing_is_known() -> None:
    points = [TrendPoint(0, None), TrendPoint(10, None)]
    assert draw(points, title="HR", unit="/min", from_ns=0, to_ns=HOUR) is None
    assert draw([], title="HR", unit="/min", from_ns=0, to_ns=HOUR) is None


def test_a_gap_is_left_open() -> None:
    near = [TrendPoint(0, 60.0), TrendPoint(GAP_NS, 61.0)]
    far = [TrendPoint(2 * GAP_NS + 1, 62.0)]
    blank = [TrendPoint(2 * GAP_NS + 2, None), TrendPoint(2 * GAP_NS + 3, 63.0)]
    chart = draw([*near, *far, *blank], title="HR", unit="/min", from_ns=0, to_ns=HOUR)
    assert chart is not None
    assert [len(line) for line in chart.lines] == [2, 1, 1]
    assert (chart.least, chart.most, chart.newest) == (60.0, 63.0, 63.0)
    assert chart.newest_ns == 2 * GAP_NS + 3


def test_a_picture_spans_what_there_is() -> None:
    five, quarter, _, most = SPANS_NS
    now = 10 * HOUR
    assert window([[], []], to_ns=now) == now - five
    assert window([[TrendPoint(now - five, 1.0)], []], to_ns=now) == now - five
    assert window([[TrendPoint(now - five - 1, 1.0)]], to_ns=now) == now - quarter
    assert window([[TrendPoint(now - 9 * HOUR, 1.0)]], to_ns=now) == now - most


@given(POINTS)
def test_every_point_is_inside_the_picture(given_points: list[tuple[int, float | None]]) -> None:
    points = [TrendPoint(at, value) for at, value in sorted(given_points, key=lambda p: p[0])]
    chart = draw(points, title="x", unit="", from_ns=0, to_ns=HOUR)
    if chart is None:
        assert all(point.value is None for point in points)
        return
    for line in chart.lines:
        for pair in line:
            x, y = (float(part) for part in pair.split(","))
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT
