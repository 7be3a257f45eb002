"""The shape of an HL7 v2 message: where each segment begins in the flat list of its fields.

The body is cut at every field separator in one C call, after a separator was put before every CR,
so that each segment's first element is CR and its name (MSH, the first, has no CR). A shape is the
list of these places; the CR that ends the last segment is one more element, alone. Whether a kept
shape fits is proved by the number of elements, the number of carriage returns and the element at
every place: each CR begins an element, so if as many places hold "CR and name" as the message has
CRs, there is no other segment anywhere.

Source: HL7 v2.8.2 section 2.5 (message framework).
"""

import re
from collections.abc import Callable, Sequence
from itertools import accumulate, repeat
from operator import itemgetter
from typing import Final

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.wire.hl7_parts import Hl7Limits

SEPARATOR: Final = -2
"""Place of MSH-1 in the list of fields: behind them all."""
ABSENT: Final = -1
"""Place of the empty field that stands for every absent one."""
_NAME: Final = re.compile(rb"[A-Z][A-Z0-9]{2}")
_ONLY_ALONE: Final = frozenset((b"MSH", b"FHS", b"FTS", b"BHS", b"BTS"))
_PLANS_MAX: Final = 64


class Shape:
    """Places of the segments of one message in its list of fields.

    Attributes:
        names: Segment names in order.
        widths: Field separators of each segment, and of the end.
        columns: What `plan_columns` made, by segment name and fields.
        firsts: What `plan_first` made, by segment name and fields.

    Source: HL7 v2.8.2 section 2.5.
    """

    __slots__ = ("_heads", "_pick_heads", "_starts", "columns", "firsts", "names", "widths")

    def __init__(
        self, names: tuple[bytes, ...], widths: tuple[int, ...], starts: tuple[int, ...]
    ) -> None:
        self.names = names
        self.widths = widths
        self._starts = starts
        self._heads = (*[b"\r" + name for name in names[1:]], b"\r")
        self._pick_heads = _picker(starts[1:])
        self.columns: dict[tuple[str, tuple[int, ...]], list[Picker]] = {}
        self.firsts: dict[tuple[str, tuple[int, ...]], Picker] = {}

    def fits(self, fields: list[bytes]) -> bool:
        """Tell whether every segment of this shape begins at its place.

        Args:
            fields: As `cut` returned them, of a message with as many elements and carriage returns.

        Source: HL7 v2.8.2 section 2.5.
        """
        return self._pick_heads(fields) == self._heads

    def find(self, name: bytes, occurrence: int) -> int | None:
        """Return the index of the segment, or None.

        Args:
            name: Segment name.
            occurrence: From 1.

        Source: HL7 v2.8.2 section 2.5.2.
        """
        index = -1
        try:
            for _ in range(occurrence):
                index = self.names.index(name, index + 1)
        except ValueError:
            return None
        return index

    def locate(self, index: int, field: int) -> int:
        """Return the place of a field, or `SEPARATOR` or `ABSENT`, in the list of fields.

        Args:
            index: Of the segment, from 0.
            field: From 1; MSH-1 is the separator itself.

        Source: HL7 v2.8.2 sections 2.5.3 and 2.14.9.1.
        """
        if index == 0:
            if field == 1:
                return SEPARATOR
            field -= 1
        return self._starts[index] + field if 0 < field <= self.widths[index] else ABSENT

    def field_count(self, index: int) -> int:
        """Return how many fields a segment has, MSH-1 included.

        Args:
            index: Of the segment, from 0.

        Source: HL7 v2.8.2 section 2.5.3.
        """
        return self.widths[index] + (index == 0)

    def plan_columns(self, name: str, wanted: tuple[int, ...]) -> "list[Picker]":
        """Make and keep one picker for each wanted field, over all segments called `name`.

        Args:
            name: Segment name.
            wanted: Field numbers from 1.

        Source: HL7 v2.8.2 section 2.5.3.
        """
        sought = name.encode()
        rows = [index for index, found in enumerate(self.names) if found == sought]
        plan = [_picker([self.locate(index, field) for index in rows]) for field in wanted]
        if len(self.columns) < _PLANS_MAX:
            self.columns[name, wanted] = plan
        return plan

    def plan_first(self, name: str, wanted: tuple[int, ...]) -> "Picker":
        """Make and keep the picker of the wanted fields of the first segment called `name`.

        Args:
            name: Segment name.
            wanted: Field numbers from 1.

        Source: HL7 v2.8.2 section 2.5.3.
        """
        index = self.find(name.encode(), 1)
        places = [ABSENT if index is None else self.locate(index, field) for field in wanted]
        plan = _picker(places)
        if len(self.firsts) < _PLANS_MAX:
            self.firsts[name, wanted] = plan
        return plan


Picker = Callable[[list[bytes]], tuple[bytes, ...]]


def _picker(places: Sequence[int]) -> Picker:
    """Return a function that picks these places of a list; `itemgetter` alone treats 1 apart."""
    if len(places) > 1:
        return itemgetter(*places)
    if not places:
        return lambda _: ()
    place = places[0]
    return lambda fields: (fields[place],)


def cut(body: bytes, separator: bytes, limits: Hl7Limits) -> tuple[list[bytes], int]:
    """Cut a body into its flat list of fields.

    Args:
        body: Canonical body.
        separator: MSH-1, one byte.
        limits: Largest numbers of segments and fields.

    Returns:
        The fields, where the first of each segment but MSH is CR and its name, and the number of
        carriage returns.

    Raises:
        LimitExceeded: Too many segments or fields.

    Source: HL7 v2.8.2 section 2.5.
    """
    marked = body.replace(b"\r", separator + b"\r")
    returns = len(marked) - len(body)
    if returns > limits.segments_max:
        raise LimitExceeded(f"message has more than {limits.segments_max} segments")
    elements_max = limits.fields_total_max + 1  # The CR at the end is an element of its own.
    fields = marked.split(separator, elements_max)
    if len(fields) > elements_max:
        raise LimitExceeded(f"message has more than {limits.fields_total_max} fields")
    return fields, returns


def measure(body: bytes, separator: bytes, fields: list[bytes], limits: Hl7Limits) -> Shape:
    """Find the shape of a body and check its segments.

    Args:
        body: Canonical body.
        separator: MSH-1, one byte.
        fields: What `cut` returned for it.
        limits: Largest number of fields in a segment.

    Raises:
        InputError: A segment name is none, or a second header stands inside the message.
        LimitExceeded: A segment has too many fields.

    Source: HL7 v2.8.2 sections 2.5.2 (segments), 2.10.3 (batches).
    """
    widths = tuple(map(bytes.count, body.split(b"\r"), repeat(separator)))  # Last: the end.
    if max(widths) > limits.fields_max:
        raise LimitExceeded(f"a segment has more than {limits.fields_max} fields")
    starts = (0, *accumulate([width + 1 for width in widths[:-1]]))
    names = (fields[0], *[fields[start][1:] for start in starts[1:-1]])
    for name in set(names):
        if not _NAME.fullmatch(name):
            raise InputError(f"segment {names.index(name) + 1} does not begin with a name")
    if not _ONLY_ALONE.isdisjoint(names[1:]):
        raise InputError(
            "a second header stands inside the message", hint="send messages one by one, no batches"
        )
    return Shape(names, widths, starts)
