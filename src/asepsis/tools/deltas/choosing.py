"""Which way costs a device least: pure, over what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass

from asepsis.core.errors import InputError
from asepsis.core.trust.delta import Method


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One way to the new artefact.

    Attributes:
        method: How.
        packer: How the difference is packed; empty where that is no question.
        size: Bytes that a device fetches.
        make_s: Time that making it took, seconds.
        apply_s: Time that applying it took here, seconds.
        memory_bytes: Memory that applying it took at its peak, bytes.
    """

    method: Method
    packer: str = ""
    size: int
    make_s: float
    apply_s: float
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a device has for it.

    Attributes:
        memory_bytes: Memory that may be taken, bytes.
        link_bytes_per_s: What its network carries, bytes a second.
        slower: How many times slower than this machine it computes.
    """

    memory_bytes: int
    link_bytes_per_s: float
    slower: float = 1.0

    def __post_init__(self) -> None:
        if self.memory_bytes <= 0 or self.link_bytes_per_s <= 0 or self.slower <= 0:
            raise InputError("memory, link and speed are above 0")


def cost_s(one: Measured, means: Means) -> float:
    """Return the seconds from the first byte to the new artefact on the device."""
    return one.size / means.link_bytes_per_s + one.apply_s * means.slower


def choose(found: Sequence[Measured], means: Means) -> Measured:
    """Return what costs least of what fits into the memory; the smaller one on a tie.

    Args:
        found: What was measured, `FULL` among it.
        means: What the device has.

    Raises:
        InputError: There is no full artefact to fall back to.
    """
    if not any(one.method is Method.FULL for one in found):
        raise InputError("the full artefact is always a way")
    fitting = [
        one for one in found if one.method is Method.FULL or one.memory_bytes <= means.memory_bytes
    ]
    return min(fitting, key=lambda one: (cost_s(one, means), one.size))
