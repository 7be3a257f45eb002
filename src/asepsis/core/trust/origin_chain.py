"""The device's half of the origin signature, and the rules of the chain; standard library only.

The batches of an epoch form a chain: sequence 1, 2, 3, ... and each names the SHA-256 of the signed
part before it. The hash chain makes a hole visible at both of its edges.

Source: REQ-ORG-002 to REQ-ORG-005, REQ-ORG-013, REQ-ORG-014, REQ-ORG-017; standard/frames.md
section 3.5.
"""

import hashlib
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from asepsis.core.errors import ChainBroken
from asepsis.core.trust.libcrypto import PrivateKey
from asepsis.core.wire.origin import NO_PREVIOUS, attach_signature

KEY_ID_BYTES: Final = 8


def key_id(spki_der: bytes) -> bytes:
    """Return the short name of an origin key: the first 8 bytes of the SHA-256 of its SPKI.

    Args:
        spki_der: SubjectPublicKeyInfo in DER.

    Source: REQ-ORG-002; RFC 7093 section 2 (method 1 takes more of the same hash).
    """
    return hashlib.sha256(spki_der).digest()[:KEY_ID_BYTES]


def sign_batch(key: PrivateKey, signed_part: bytes) -> bytes:
    """Return a whole origin batch: the signed part and its ES256 signature.

    Args:
        key: The device's origin key.
        signed_part: Result of `core.wire.origin.encode_batch`.

    Raises:
        TrustError: libcrypto fails.

    Source: REQ-ORG-017; RFC 7518 section 3.4.
    """
    return attach_signature(signed_part, key.sign(signed_part))


class Place(Enum):
    """Where a batch stands relative to the newest one known."""

    NEXT = "next"
    """The successor; its previous hash fits."""
    DUPLICATE = "duplicate"
    """The newest one again, bit for bit the same signed part."""
    AHEAD = "ahead"
    """Later in the epoch: a gap opened."""
    BEHIND = "behind"
    """Earlier in the epoch: late, a replay, or a fork that only the journal can tell."""
    NEW_EPOCH = "new-epoch"
    """From a later boot."""
    OLD_EPOCH = "old-epoch"
    """From an earlier boot: late or a replay."""


class Linked(Protocol):
    """What the chain rules read of a batch; `core.wire.origin.OriginBatch` has it."""

    @property
    def epoch(self) -> int:
        """Boot epoch."""
        ...

    @property
    def sequence(self) -> int:
        """Number in the epoch."""
        ...

    @property
    def previous(self) -> bytes:
        """Digest of the batch before."""
        ...

    @property
    def digest(self) -> bytes:
        """SHA-256 of the signed part."""
        ...


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The newest batch of a chain.

    Attributes:
        epoch: Boot epoch.
        sequence: Its number; 0 before the first of the epoch.
        digest: SHA-256 of its signed part; zeros before the first.
    """

    epoch: int
    sequence: int
    digest: bytes

    @classmethod
    def start(cls, epoch: int) -> "ChainHead":
        """Return the head before the first batch of an epoch (REQ-ORG-004)."""
        return cls(epoch, 0, NO_PREVIOUS)

    def after(self, signed_part: bytes) -> "ChainHead":
        """Return the head once this signed part has followed; the device's side.

        The caller encoded it with `sequence + 1` and `previous=digest` of this head.
        """
        return ChainHead(self.epoch, self.sequence + 1, hashlib.sha256(signed_part).digest())

    def place(self, batch: Linked) -> Place:
        """Say where a verified batch stands; the receiver's side.

        Raises:
            ChainBroken: A fork: the same number with another content, or a successor whose
                previous hash is not this head's digest.

        Source: REQ-ORG-011, REQ-ORG-013, REQ-ORG-014.
        """
        if batch.epoch != self.epoch:
            return Place.NEW_EPOCH if batch.epoch > self.epoch else Place.OLD_EPOCH
        step = batch.sequence - self.sequence
        if step == 0 and batch.digest != self.digest:
            raise ChainBroken(f"two different batches with sequence {batch.sequence}")
        if step == 1 and batch.previous != self.digest:
            raise ChainBroken(f"batch {batch.sequence} does not follow the one before it")
        if step > 1:
            return Place.AHEAD
        return (Place.BEHIND, Place.DUPLICATE, Place.NEXT)[max(step, -1) + 1]

    @classmethod
    def of(cls, batch: Linked) -> "ChainHead":
        """Return the head that a batch makes, whatever stood before."""
        return cls(batch.epoch, batch.sequence, batch.digest)
