"""Who is asked before a version of a compartment is activated, and before it is kept.

The supervisor asks after the permit of the critical compartment and before it uses it, and again
at the end of a version's trial. Where nobody is named, both are allowed: a person at the device.
"""

from collections.abc import Callable
from dataclasses import dataclass


def _nothing(_compartment: str, _version: str) -> None:
    """Allow it."""


@dataclass(slots=True)
class Activation:
    """Two gates; set by whoever updates the device.

    Attributes:
        begins: Given compartment and version; raises AsepsisError, and nothing is activated.
        keeps: Given both; raises TransientError, and the version stays on trial.
    """

    begins: Callable[[str, str], None] = _nothing
    keeps: Callable[[str, str], None] = _nothing
