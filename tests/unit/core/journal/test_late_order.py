"""One order for two writers: nothing becomes visible before what stands in front of it."""

from asepsis.core.journal.late import LateOrder


def test_visible_stops_before_the_first_open_position() -> None:
    order = LateOrder(10)
    assert order.visible() == 10
    assert [order.take("signed"), order.take("waveform"), order.take("signed")] == [11, 12, 13]
    assert order.visible() == 10
    order.settle("waveform")
    assert order.visible() == 10
    assert order.is_open("signed")
    assert not order.is_open("waveform")
    order.settle("signed")
    assert order.visible() == 13


def test_positions_of_a_failed_group_are_never_given_again() -> None:
    order = LateOrder(0)
    order.take("signed")
    order.settle("signed")
    assert order.take("signed") == 2
