"""A message that can be changed: its segments and fields as raw bytes, addressed by paths.

Values are read and written as text: escapes and the character set are handled here, so that no
value can turn into a delimiter. MSH-1, MSH-2 and MSH-18 stay as they are, since every other byte
depends on them.

Source: HL7 v2.8.2 sections 2.5.3, 2.6 and 2.7.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from asepsis.core.errors import InputError
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.hl7_parts import CR, Delimiters, leaf_of
from asepsis.core.wire.hl7_text import escape, text_of

FIXED: Final = frozenset({(b"MSH", 1), (b"MSH", 2), (b"MSH", 18)})
"""Delimiters and character set."""
WHOLE: Final = -1
"""Repetition of a path to a field: all of it, so that nothing of it is left by mistake."""
Edit = Callable[[bytes], bytes]
Levels = list[tuple[bytes, int]]
_TARGET: Final = re.compile(
    r"([A-Z][A-Z0-9]{2})(?:\[(\d{1,3}|\*)\])?-(\d{1,3})(?:\[(\d{1,3}|\*)\])?"
    r"(?:\.(\d{1,3}))?(?:\.(\d{1,3}))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Target:
    """An element, or the same element of every segment or every repetition.

    Attributes:
        segment: Three-letter name.
        occurrence: From 1; 0 means every segment of that name.
        field: From 1.
        repetition: From 1; 0 means every repetition that is there, `WHOLE` the whole field.
        component: From 1; 0 means the whole repetition.
        subcomponent: From 1; 0 means the whole component.
    """

    segment: bytes
    occurrence: int
    field: int
    repetition: int
    component: int
    subcomponent: int

    def __str__(self) -> str:
        numbers = [f".{n}" for n in (self.component, self.subcomponent) if n]
        return f"{self.segment.decode()}-{self.field}" + "".join(numbers)


@lru_cache(maxsize=4_096)
def target_of(text: str) -> Target:
    """Read a path such as ``PID-5.1``, ``OBX[*]-3.1`` or ``PID-3[*].4``.

    Raises:
        InputError: Not a path, a number is zero, or a field that no step may change.
    """
    match = _TARGET.fullmatch(text)
    if match is None:
        raise InputError(f"{text!r} is no path", hint="write it like PID-3[2].4.1 or OBX[*]-3")
    name, occurrence, field, repetition, *deeper = match.groups()
    numbers = [int(n) for n in (occurrence, field, repetition, *deeper) if n and n != "*"]
    if 0 in numbers:
        raise InputError(f"{text!r} has a number 0; HL7 counts from 1")
    default = 1 if deeper[0] else WHOLE
    return Target(
        segment=name.encode(),
        occurrence=0 if occurrence == "*" else int(occurrence or 1),
        field=int(field),
        repetition=0 if repetition == "*" else int(repetition or default),
        component=int(deeper[0] or 0),
        subcomponent=int(deeper[1] or 0),
    )


class Draft:
    """One message while a route changes it.

    Args:
        message: What it starts from; it is not changed.

    Raises:
        UnsupportedMedia: Its character set is not taken, so nothing can be written into it.
    """

    __slots__ = ("codec", "delimiters", "segments")

    def __init__(self, message: Message) -> None:
        self.delimiters: Delimiters = message.delimiters
        self.codec = message.character_set.codec
        separator = self.delimiters.field
        lines = message.body.split(CR)[:-1]
        self.segments: list[list[bytes]] = [line.split(separator) for line in lines]

    def copy(self, segments: Sequence[list[bytes]]) -> "Draft":
        """Return a draft of other segments, in the same delimiters and character set."""
        made = object.__new__(Draft)
        made.delimiters, made.codec = self.delimiters, self.codec
        made.segments = [list(segment) for segment in segments]
        return made

    def __bytes__(self) -> bytes:
        separator = self.delimiters.field
        return b"".join(separator.join(segment) + CR for segment in self.segments)

    def places(self, target: Target) -> Iterator[int]:
        """Return the indexes of the segments that a target means; none where it is absent."""
        found = [i for i, segment in enumerate(self.segments) if segment[0] == target.segment]
        if target.occurrence == 0:
            return iter(found)
        return iter(found[target.occurrence - 1 : target.occurrence])

    def read(self, target: Target) -> str:
        """Return the text of the first leaf that a target means; "" if it is absent.

        Raises:
            InputError: Not valid in the message's character set.
        """
        return text_of(leaf_of(self.raw(target), self.delimiters), self.delimiters, self.codec)

    def raw(self, target: Target) -> bytes:
        """Return the bytes of the first element that a target means; b"" if it is absent."""
        for index in self.places(target):
            if target.repetition == WHOLE:
                segment, place = self.segments[index], self.place(index, target.field)
                return segment[place] if place < len(segment) else b""
            parts = self._repetitions(index, target.field)
            number = target.repetition or 1
            return self.part(parts[number - 1], target) if number <= len(parts) else b""
        return b""

    def part(self, repetition: bytes, target: Target) -> bytes:
        """Return the component or subcomponent that a target means of one repetition."""
        found = repetition
        for mark, number in self._levels(target):
            parts = found.split(mark) if mark else [found]
            found = parts[number - 1] if number <= len(parts) else b""
        return found

    def write(self, target: Target, text: str) -> int:
        """Write text wherever a target means; return in how many segments.

        Raises:
            InputError: A field no step may change, or text that the character set cannot write.
        """
        return self.write_raw(target, escape(text, self.delimiters, self.codec))

    def write_raw(self, target: Target, data: bytes) -> int:
        """Write bytes that are escaped already, as `raw` returned them; see `write`."""
        return self.edit(target, lambda _: data)

    def edit(self, target: Target, change: Edit) -> int:
        """Change every element that a target means; return how many segments that were.

        Args:
            target: Repetition 0 means those that are there, and so none of an empty field.
            change: Given the bytes as they stand, returns the new ones.

        Raises:
            InputError: A field no step may change.
        """
        if (target.segment, target.field) in FIXED:
            raise InputError(f"{target} cannot be changed", hint="delimiters and character set")
        count = 0
        for index in self.places(target):
            self._edit_segment(index, target, change)
            count += 1
        return count

    def _edit_segment(self, index: int, target: Target, change: Edit) -> None:
        segment, place = self.segments[index], self.place(index, target.field)
        if target.repetition == 0 and place >= len(segment):
            return
        segment += [b""] * (place + 1 - len(segment))
        if target.repetition == WHOLE:
            segment[place] = change(segment[place])
            return
        repetitions = self._repetitions(index, target.field)
        if target.repetition:
            repetitions += [b""] * (target.repetition - len(repetitions))
            at = target.repetition - 1
            repetitions[at] = self._edited(repetitions[at], self._levels(target), change)
        elif segment[place]:
            levels = self._levels(target)
            repetitions = [self._edited(one, levels, change) for one in repetitions]
        segment[place] = self.delimiters.repetition.join(repetitions).rstrip(
            self.delimiters.repetition
        )

    def _edited(self, whole: bytes, levels: Levels, change: Edit) -> bytes:
        if not levels:
            return change(whole)
        (mark, number), deeper = levels[0], levels[1:]
        if not mark:
            raise InputError("MSH-2 of the message names no separator for subcomponents")
        parts = whole.split(mark)
        parts += [b""] * (number - len(parts))
        parts[number - 1] = self._edited(parts[number - 1], deeper, change)
        return mark.join(parts).rstrip(mark)

    def _levels(self, target: Target) -> Levels:
        levels = [(self.delimiters.component, target.component)] if target.component else []
        if target.subcomponent:
            levels.append((self.delimiters.subcomponent, target.subcomponent))
        return levels

    def place(self, index: int, field: int) -> int:
        """Return where a field stands in the list of its segment; MSH-1 is the separator."""
        return field - 1 if self.segments[index][0] == b"MSH" else field

    def _repetitions(self, index: int, field: int) -> list[bytes]:
        segment, place = self.segments[index], self.place(index, field)
        whole = segment[place] if place < len(segment) else b""
        if self.segments[index][0] == b"MSH" and field == 2:
            return [whole]
        return whole.split(self.delimiters.repetition)


def single(target: Target, occurrence: int) -> Target:
    """Return a target of one segment instead of every one."""
    return replace(target, occurrence=occurrence)
