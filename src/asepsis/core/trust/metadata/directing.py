"""Makes TUF files of what the signer signed for a device."""

from functools import lru_cache

from cryptography.hazmat.primitives.serialization import load_der_public_key

from asepsis.core.errors import InputError
from asepsis.core.trust.answers import DirectorSigned, SignedSet
from asepsis.core.trust.metadata.library import Key, SSlibKey


def director_key(key_der: bytes) -> Key:
    """Return the director's public key as TUF names it, for the hospital's root.

    Raises:
        InputError: Not a public key.
    """
    try:
        return SSlibKey.from_crypto(load_der_public_key(key_der))
    except ValueError as error:
        raise InputError("not a public key") from error


def files(signed: DirectorSigned, place: int) -> dict[str, bytes]:
    """Return the files that one device fetches, the timestamp last.

    Args:
        signed: The signer's answer.
        place: Which of its sets, from 0.
    """
    keyid = _keyid(signed.key_der)
    one: SignedSet = signed.sets[place]
    names = (
        f"{signed.version}.targets.json",
        f"{signed.version}.snapshot.json",
        "timestamp.json",
    )
    payloads = (one.targets, one.snapshot, one.timestamp)
    return {
        name: _file(payload, signature, keyid)
        for name, payload, signature in zip(names, payloads, one.signatures, strict=True)
    }


@lru_cache(maxsize=8)
def _keyid(key_der: bytes) -> str:
    return director_key(key_der).keyid


def _file(payload: bytes, signature: bytes, keyid: str) -> bytes:
    """Put the signed bytes, which are JSON already, into TUF's envelope."""
    head = f'{{"signatures":[{{"keyid":"{keyid}","sig":"{signature.hex()}"}}],"signed":'
    return head.encode("ascii") + payload + b"}"
