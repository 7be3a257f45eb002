"""Signs security events with the origin key, in the origin compartment.

What is signed came from the supervisor over the control line: words of its own, cut to their limits
once more here, because what was denied was caused by somebody who may be owned.
"""

from collections.abc import Callable, Mapping
from typing import Any

from asepsis.core.errors import InputError
from asepsis.core.model.identity import DeviceId
from asepsis.core.trust.libcrypto import PrivateKey
from asepsis.core.trust.origin_chain import key_id
from asepsis.core.wire.security_event import (
    SOURCE_CHARS_MAX,
    TEXT_BYTES_MAX,
    DenialKind,
    SecurityEvent,
    encode,
)


class EventSigner:
    """Numbers and signs; the state of one epoch.

    Args:
        device: The device's name.
        key: Its origin key.
        epoch: Boot epoch of this origin compartment.
        wall_ns: The device's wall time, nanoseconds since 1970.
    """

    def __init__(
        self, device: DeviceId, *, key: PrivateKey, epoch: int, wall_ns: Callable[[], int]
    ) -> None:
        self._device = device
        self._key = key
        self._key_id = key_id(key.spki_der)
        self._epoch = epoch
        self._wall_ns = wall_ns
        self._sequence = 0

    def sign(self, body: Mapping[str, Any]) -> bytes | None:
        """Return a signed event; None for an order that is none, which ends nothing here."""
        try:
            event = SecurityEvent(
                device=self._device,
                key_id=self._key_id,
                epoch=self._epoch,
                sequence=self._sequence + 1,
                wall_ns=self._wall_ns(),
                kind=DenialKind[str(body["kind"]).upper()],
                alarm=body["alarm"] is True,
                count=int(body["count"]),
                source=_plain(str(body["source"]))[:SOURCE_CHARS_MAX],
                text=_plain(str(body["text"]))[:TEXT_BYTES_MAX],
            )
            signed = encode(event)
        except (InputError, KeyError, TypeError, ValueError):
            return None
        self._sequence += 1
        return signed + self._key.sign(signed)


def _plain(text: str) -> str:
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
