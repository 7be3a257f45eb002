"""Whether what a device says by itself was signed by its origin key."""

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from asepsis.core.errors import AsepsisError, SignatureInvalid
from asepsis.hub.access.principal import Principal
from asepsis.hub.exchange.intake import Intake

_ECDSA: Final = ec.ECDSA(SHA256())


async def require_genuine(
    intake: Intake,
    principal: Principal,
    *,
    device: str,
    key_id: bytes,
    signed: bytes,
    signature: bytes,
) -> None:
    """Check an ES256 signature of a device's origin key; a forged one is an alarm.

    Args:
        intake: Knows the keys, and takes note of forgeries.
        principal: Who brought it.
        device: Who is said to have signed.
        key_id: First 8 bytes of the SHA-256 of the key's SPKI DER.
        signed: What was signed.
        signature: 64 bytes, r and s.

    Raises:
        SignatureInvalid: Unknown key or bad signature.
    """
    try:
        key = load_der_public_key(intake.directory.origin_key(device, key_id))
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise SignatureInvalid("not an origin key")
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        key.verify(encode_dss_signature(r, s), signed, _ECDSA)
    except (AsepsisError, InvalidSignature) as error:
        refusal = SignatureInvalid("it is not signed by this device's origin key")
        await intake.forged(principal, device, refusal)
        raise refusal from error
