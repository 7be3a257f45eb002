"""One segment of an HL7 v2 message, as a view of its message.

Source: HL7 v2.8.2 section 2.5.2.
"""

from typing import Protocol

from asepsis.core.wire.hl7_parts import DELIMITER_FIELDS, Path


class Elements(Protocol):
    """What a segment needs of its message; `Message` has it.

    Source: HL7 v2.8.2 section 2.5.
    """

    @property
    def names(self) -> tuple[bytes, ...]:
        """Names of all segments in order. Source: HL7 v2.8.2 section 2.5.2."""
        ...

    def element(self, index: int, place: Path) -> bytes:
        """Return the bytes of an element of one segment. Source: HL7 v2.8.2 section 2.5.3."""
        ...

    def field_count(self, index: int) -> int:
        """Count the fields of one segment. Source: HL7 v2.8.2 section 2.5.3."""
        ...

    def decode(self, raw: bytes) -> str:
        """Return the text of the first leaf. Source: HL7 v2.8.2 section 2.7."""
        ...


class Segment:
    """One segment of a message: a view, made when it is asked for.

    Args:
        message: The message it belongs to.
        index: Its place in the message, from 0.

    Source: HL7 v2.8.2 section 2.5.2.
    """

    __slots__ = ("_index", "_message")

    def __init__(self, message: Elements, index: int) -> None:
        self._message = message
        self._index = index

    @property
    def name(self) -> str:
        """Three letters such as "OBX". Source: HL7 v2.8.2 section 2.5.2."""
        return self._message.names[self._index].decode("ascii")

    def __len__(self) -> int:
        """Count the fields, MSH-1 included in MSH."""
        return self._message.field_count(self._index)

    def raw(
        self, field: int, *, repetition: int = 0, component: int = 0, subcomponent: int = 0
    ) -> bytes:
        """Return the bytes of an element as they stand; b"" if it is absent.

        Args:
            field: From 1.
            repetition: From 1; 0 means all, or the first if a deeper level is given.
            component: From 1; 0 means all, or the first if a deeper level is given.
            subcomponent: From 1; 0 means all.

        Source: HL7 v2.8.2 section 2.5.3.
        """
        name = self._message.names[self._index]
        place = Path(name, 1, field, repetition, component, subcomponent)
        return self._message.element(self._index, place)

    def text(
        self, field: int, *, repetition: int = 1, component: int = 1, subcomponent: int = 1
    ) -> str:
        """Return one leaf as text; "" if it is absent.

        Args:
            field: From 1.
            repetition: From 1.
            component: From 1.
            subcomponent: From 1.

        Raises:
            InputError: Bytes that are not valid in the message's character set.
            UnsupportedMedia: A character set that is not taken.

        Source: HL7 v2.8.2 sections 2.5.3 and 2.7.
        """
        raw = self.raw(field, repetition=repetition, component=component, subcomponent=subcomponent)
        if self._index == 0 and field <= DELIMITER_FIELDS:
            return raw.decode("ascii")
        return self._message.decode(raw)
