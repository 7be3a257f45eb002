"""Signs update reports with the origin key, in the origin compartment.

What is signed came from the supervisor over the control line, and is checked once more here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from asepsis.core.errors import InputError
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.time import Instant
from asepsis.core.model.update import Outcome, TestResult, UpdateReport, WaitsFor
from asepsis.core.trust.libcrypto import PrivateKey
from asepsis.core.trust.origin_chain import key_id
from asepsis.core.wire.update_report import encode
from asepsis.edge.device.update.memory import Held


def to_order(held: Held) -> dict[str, Any]:
    """Return a state of the update agent as the body of an order to the origin compartment."""
    return {
        "release": held.target.release,
        "component": held.target.component,
        "counter": held.target.counter,
        "outcome": held.outcome.value,
        "waits_for": held.waits_for.value if held.waits_for else None,
        "reason": "".join(c if c.isascii() and c.isprintable() else "?" for c in held.reason),
        "tests": [[t.name, t.unit, t.measured, t.low, t.high] for t in held.tests],
    }


class ReportSigner:
    """Numbers and signs; the state of one epoch.

    Args:
        device: The device's name.
        key: Its origin key.
        epoch: Boot epoch of this origin compartment.
        instant: The present moment.
    """

    def __init__(
        self, device: DeviceId, *, key: PrivateKey, epoch: int, instant: Callable[[], Instant]
    ) -> None:
        self._device = device
        self._key = key
        self._key_id = key_id(key.spki_der)
        self._epoch = epoch
        self._instant = instant
        self._sequence = 0

    def sign(self, body: Mapping[str, Any]) -> bytes | None:
        """Return a signed report; None for an order that is none, which ends nothing here."""
        try:
            waits_for = body["waits_for"]
            report = UpdateReport(
                device=self._device,
                epoch=self._epoch,
                sequence=self._sequence + 1,
                at=self._instant(),
                release=str(body["release"]),
                component=str(body["component"]),
                counter=int(body["counter"]),
                outcome=Outcome(body["outcome"]),
                waits_for=None if waits_for is None else WaitsFor(waits_for),
                reason=str(body["reason"]),
                tests=tuple(_test(one) for one in body["tests"]),
            )
            signed = encode(report, key_id=self._key_id)
        except (InputError, KeyError, TypeError, ValueError):
            return None
        self._sequence += 1
        return signed + self._key.sign(signed)


def _test(found: Sequence[Any]) -> TestResult:
    name, unit, measured, low, high = found
    return TestResult(
        name=str(name), unit=str(unit), measured=float(measured), low=float(low), high=float(high)
    )
