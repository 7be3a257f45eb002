"""The verifier compartment: a file and its signature in, verified or refused out. One shot.

It has no network, no ring, no folder and no way to open a file: both files come as descriptors, and
are read only after every right is gone, because whoever made them may have made them to attack it.
It loads libcrypto and no parser.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Callable
from typing import Final

from asepsis.core.errors import AsepsisError, InputError, LimitExceeded
from asepsis.core.trust import libcrypto, libcrypto_binding
from asepsis.edge.device.compartment import Line, serve, take
from asepsis.edge.sandbox.control import Order

PIECE: Final = 1 << 20
VERIFIED: Final = "verified"
REFUSED: Final = "refused"


class Verifier:
    """Judges one file.

    Args:
        candidate: Descriptor of the file.
        signature: Descriptor of its signature, 64 bytes (ES256: r and s).
        spki_der: The key it must be signed with.
        line: Control line.
    """

    def __init__(self, candidate: int, *, signature: int, spki_der: bytes, line: Line) -> None:
        self._candidate = candidate
        self._signature = signature
        self._spki_der = spki_der
        self._line = line

    def run(self) -> None:
        """Judge it, say so, end. The digest says of which bytes the word is true."""
        try:
            signature = _read(self._signature, bytes_max=libcrypto.SIGNATURE_BYTES)
            content = _read(self._candidate, bytes_max=libcrypto.MESSAGE_BYTES_MAX)
            libcrypto.verify(self._spki_der, signature, content)
        except (AsepsisError, OSError) as error:
            code = error.code if isinstance(error, AsepsisError) else "ASP-400"
            self._line.report(REFUSED, code=code, text=str(error)[:300])
            return
        digest = hashlib.sha256(content).hexdigest()
        self._line.report(VERIFIED, sha256=digest, bytes=len(content))


def _read(descriptor: int, *, bytes_max: int) -> bytes:
    found = bytearray()
    while piece := os.read(descriptor, PIECE):
        found += piece
        if len(found) > bytes_max:
            raise LimitExceeded(f"longer than {bytes_max} bytes")
    return bytes(found)


def build(order: Order, line: Line) -> Callable[[], Verifier]:
    """Load libcrypto; nothing of the files is read yet."""
    libcrypto_binding.library()
    hashlib.sha256(b"")
    try:
        spki_der = base64.b64decode(str(order.body["spki"]), validate=True)
    except (KeyError, binascii.Error) as error:
        raise InputError("no key to verify with") from error
    candidate, signature = take(order, "candidate"), take(order, "signature")
    return lambda: Verifier(candidate, signature=signature, spki_der=spki_der, line=line)


def main(control_descriptor: int) -> None:
    """Run the compartment."""
    serve(control_descriptor, build)
