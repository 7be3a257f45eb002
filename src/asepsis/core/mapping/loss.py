"""What a mapping could not carry: every projection says so instead of staying silent.

Source: own; ISO/IEEE 11073-10201 and FHIR R4 differ in what they can say.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Mapped(Generic[T]):
    """A mapped value and the losses on the way.

    Attributes:
        value: The result.
        losses: One sentence for each thing that was not carried, without clinical values; empty
            if the way back gives the same again.
    """

    value: T
    losses: tuple[str, ...] = ()
