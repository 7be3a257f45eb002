"""The device's way to the hub in attestation: bring its TPM, and answer when it is asked.

Whoever runs this holds the TLS key, and no origin key. The hub's word changes one thing here: the
floor's counter in the TPM is raised, never lowered.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from asepsis.core.errors import InputError
from asepsis.core.trust.attestation import NONCE_BYTES
from asepsis.edge.device.proving import Prover, to_text
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


@dataclass(frozen=True, slots=True)
class Attester:
    """One device with its TPM and its way to the hub.

    Attributes:
        prover: Has the TPM.
        hub: Connection to the clinical listener, authenticated by the device's TLS key.
        tls_spki_der: That key's public half.
    """

    prover: Prover
    hub: HubConnection
    tls_spki_der: bytes

    def bind(self) -> str:
        """Bring the TPM to the hub, once a person has opened the commissioning.

        Returns:
            The endorsement key, as a person records it.

        Raises:
            TrustError: The hub refuses this TPM.
            InputError: The TPM cannot open what the hub sealed.
            TransientError: No connection, or nobody who has the TPM answers.
        """
        document = self.prover.keys()
        recorded = str(document.pop("ek_sha256"))
        offered = self._post("/attestation/keys", document)
        secret = self.prover.open_secret(
            credential=_bytes(offered, "credential"), sealer=_bytes(offered, "sealer")
        )
        self._post("/attestation/activation", {"secret": to_text(secret)})
        return recorded

    def attest(self) -> Found:
        """Be asked, answer, and raise the floor as far as the hub says and the device allows.

        Raises:
            TrustError: The hub refuses what this device is.
            InputError: The hub refuses what started or runs.
            TransientError: No connection, or nobody who has the TPM answers.
        """
        asked = self._post("/attestation/question", {})
        answer = self.prover.answer(_nonce(asked), self.tls_spki_der)
        found = self._post("/attestation/answer", answer)
        try:
            wanted = int(found["raise_counter_to"])
            standing, release = str(found["standing"]), str(found["release"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("the hub's verdict is none") from error
        return Found(standing, release, self.prover.raise_floor(wanted))

    def _post(self, path: str, document: Mapping[str, Any]) -> dict[str, Any]:
        answer = self.hub.request("POST", path, body=json.dumps(document).encode(), headers=_JSON)
        try:
            found: object = json.loads(answer.body)
        except (ValueError, RecursionError) as error:
            raise InputError("the hub's answer is no JSON") from error
        if not isinstance(found, dict):
            raise InputError("the hub's answer is no object")
        return cast("dict[str, Any]", found)


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
