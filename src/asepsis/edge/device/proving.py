"""What a TPM states for the hub, and who asks it: the TPM itself, or a compartment that has it.

Whoever talks to the hub holds a `Prover` and no TPM: on a device the network compartment asks over
a line, and the compartment that answers has no way out.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from asepsis.core.errors import NotFound
from asepsis.core.trust.attestation import QUOTED, qualifying
from asepsis.core.trust.attestation_log import Line
from asepsis.core.trust.tpm import EccKey
from asepsis.edge.device.tpm import Tpm
from asepsis.edge.device.tpm_keys import (
    activate,
    attestation_key,
    certify_floor,
    ek_certificate,
    floor_base,
    keys,
    make_floor,
    quote,
    raise_floor,
    read_pcrs,
)


class Prover(Protocol):
    """Has one TPM state things."""

    def keys(self) -> dict[str, Any]:
        """Return `ek`, `ak` and `chain` as the hub takes them, and `ek_sha256` as people do."""
        ...

    def open_secret(self, *, credential: bytes, sealer: bytes) -> bytes:
        """Open what was sealed to this TPM."""
        ...

    def answer(self, nonce: bytes, tls_spki_der: bytes) -> dict[str, Any]:
        """Return what answers a question of the hub, as the hub takes it."""
        ...

    def raise_floor(self, counter: int) -> int:
        """Raise the floor's counter as far as it may be; return its value."""
        ...


def fingerprint(ek: EccKey) -> str:
    """Return what a person records of an endorsement key: SHA-256 of its SPKI, hexadecimal."""
    return hashlib.sha256(ek.spki_der).hexdigest()


@dataclass(frozen=True, slots=True)
class TpmProver:
    """Whoever has the TPM.

    Attributes:
        tpm: The TPM.
        lines: Returns what was changed since the start.
        number: Number of the image that runs: the floor is never raised above it, so that nobody
            who carries the hub's word can keep this image from starting again. None where the
            hub's word is believed.
        intermediates_der: Certificates between that of the TPM and its maker's root.
    """

    tpm: Tpm
    lines: Callable[[], Sequence[Line]]
    number: int | None = None
    intermediates_der: Sequence[bytes] = ()

    def keys(self) -> dict[str, Any]:
        """See `Prover`.

        Raises:
            InputError: The TPM makes no such keys.
        """
        ek, ak = keys(self.tpm)
        try:
            chain = [ek_certificate(self.tpm), *self.intermediates_der]
        except NotFound:
            chain = []  # Then a person has recorded the key, or the hub says that it is refused.
        return {
            "ek": to_text(ek.public),
            "ak": to_text(ak.public),
            "chain": [to_text(one) for one in chain],
            "ek_sha256": fingerprint(ek),
        }

    def open_secret(self, *, credential: bytes, sealer: bytes) -> bytes:
        """See `Prover`.

        Raises:
            InputError: It was not sealed for this TPM.
        """
        return activate(self.tpm, credential=credential, secret=sealer)

    def answer(self, nonce: bytes, tls_spki_der: bytes) -> dict[str, Any]:
        """See `Prover`.

        Raises:
            InputError: The TPM refuses, or the log holds what is no line.
        """
        make_floor(self.tpm)
        lines = self.lines()
        extra = qualifying(nonce, tls_spki_der)
        with attestation_key(self.tpm) as key:
            quoted, signature = quote(self.tpm, key, pcrs=QUOTED, extra=extra)
            counter, counted = certify_floor(self.tpm, key, extra=extra)
        values = read_pcrs(self.tpm, QUOTED)
        return {
            "quote": to_text(quoted),
            "quote_signature": to_text(signature),
            "counter": to_text(counter),
            "counter_signature": to_text(counted),
            "registers": {str(pcr): value.hex() for pcr, value in values.items()},
            "lines": [asdict(line) for line in lines],
        }

    def raise_floor(self, counter: int) -> int:
        """See `Prover`.

        Raises:
            InputError: The TPM refuses, or that would be more than it counts at once.
        """
        if self.number is not None:
            counter = min(counter, (floor_base(self.tpm) or 0) + self.number)
        return raise_floor(self.tpm, counter)


def to_text(content: bytes) -> str:
    """Return bytes as they are sent: base64."""
    return base64.b64encode(content).decode("ascii")
