"""The device's side of attestation: bring its TPM to the hub, and answer when it is asked.

Whoever runs this holds TLS key and TPM, and no origin key. The hub's word changes one thing here:
the floor's counter in the TPM is raised, never lowered.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, cast

from asepsis.core.errors import InputError, NotFound
from asepsis.core.trust.attestation import NONCE_BYTES, QUOTED, qualifying
from asepsis.core.trust.attestation_log import Line
from asepsis.core.trust.tpm import EccKey
from asepsis.edge.device.tpm import Tpm
from asepsis.edge.device.tpm_keys import (
    activate,
    attestation_key,
    certify_floor,
    ek_certificate,
    keys,
    make_floor,
    quote,
    raise_floor,
    read_pcrs,
)
from asepsis.edge.uplink.connection import HubConnection

_JSON: Final = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Found:
    """What the hub found the device to be.

    Attributes:
        standing: `booted` or `running`.
        release: Which release it started.
        counter: Value of the floor's counter now.
    """

    standing: str
    release: str
    counter: int


def fingerprint(ek: EccKey) -> str:
    """Return what a person records of an endorsement key: SHA-256 of its SPKI, hexadecimal."""
    return hashlib.sha256(ek.spki_der).hexdigest()


@dataclass(frozen=True, slots=True)
class Attester:
    """One device with its TPM and its way to the hub.

    Attributes:
        tpm: The TPM.
        hub: Connection to the clinical listener, authenticated by the device's TLS key.
        tls_spki_der: That key's public half.
    """

    tpm: Tpm
    hub: HubConnection
    tls_spki_der: bytes

    def bind(self, *, intermediates_der: Sequence[bytes] = ()) -> str:
        """Bring the TPM to the hub, once a person has opened the commissioning.

        Args:
            intermediates_der: Certificates between that of the TPM and its maker's root.

        Returns:
            The endorsement key, as a person records it.

        Raises:
            TrustError: The hub refuses this TPM.
            InputError: The TPM cannot open what the hub sealed.
            TransientError: No connection.
        """
        ek, ak = keys(self.tpm)
        try:
            chain = [ek_certificate(self.tpm), *intermediates_der]
        except NotFound:
            chain = []  # Then a person has recorded the key, or the hub says that it is refused.
        offered = self._post(
            "/attestation/keys",
            {
                "ek": _text(ek.public),
                "ak": _text(ak.public),
                "chain": [_text(one) for one in chain],
            },
        )
        secret = activate(
            self.tpm,
            credential=_bytes(offered, "credential"),
            secret=_bytes(offered, "sealer"),
        )
        self._post("/attestation/activation", {"secret": _text(secret)})
        return fingerprint(ek)

    def attest(self, lines: Sequence[Line]) -> Found:
        """Be asked, answer, and raise the floor as far as the hub says.

        Args:
            lines: The log of changes since the start.

        Raises:
            TrustError: The hub refuses what this device is.
            InputError: The hub refuses what started or runs.
            TransientError: No connection.
        """
        make_floor(self.tpm)
        asked = self._post("/attestation/question", {})
        found = self._post("/attestation/answer", self._answer(_nonce(asked), lines))
        try:
            wanted = int(found["raise_counter_to"])
            standing, release = str(found["standing"]), str(found["release"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("the hub's verdict is none") from error
        return Found(standing, release, raise_floor(self.tpm, wanted))

    def _answer(self, nonce: bytes, lines: Sequence[Line]) -> dict[str, Any]:
        extra = qualifying(nonce, self.tls_spki_der)
        with attestation_key(self.tpm) as key:
            quoted, signature = quote(self.tpm, key, pcrs=QUOTED, extra=extra)
            counter, counted = certify_floor(self.tpm, key, extra=extra)
        values = read_pcrs(self.tpm, QUOTED)
        return {
            "quote": _text(quoted),
            "quote_signature": _text(signature),
            "counter": _text(counter),
            "counter_signature": _text(counted),
            "registers": {str(pcr): value.hex() for pcr, value in values.items()},
            "lines": [asdict(line) for line in lines],
        }

    def _post(self, path: str, document: Mapping[str, Any]) -> dict[str, Any]:
        answer = self.hub.request("POST", path, body=json.dumps(document).encode(), headers=_JSON)
        try:
            found: object = json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise InputError("the hub's answer is no JSON") from error
        if not isinstance(found, dict):
            raise InputError("the hub's answer is no object")
        return cast("dict[str, Any]", found)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _bytes(document: Mapping[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(str(document[name]), validate=True)
    except (KeyError, binascii.Error) as error:
        raise InputError(f"the hub's answer has no {name}") from error


def _nonce(document: Mapping[str, Any]) -> bytes:
    try:
        nonce = bytes.fromhex(str(document["nonce"]))
    except (KeyError, ValueError) as error:
        raise InputError("the hub's question is none") from error
    if len(nonce) != NONCE_BYTES:
        raise InputError(f"the hub's question has {NONCE_BYTES} bytes")
    return nonce
