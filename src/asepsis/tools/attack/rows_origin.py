"""What the owner of the network compartment can do with what origin signed.

He holds every signed byte and the TLS key, and not the origin key. Each row is judged by the very
rules that the hub applies: signature, place in the chain, list of active alarm conditions.
"""

import dataclasses
from collections.abc import Sequence
from typing import Final

from asepsis.core.errors import ChainBroken, TrustError
from asepsis.core.model.alarm import AlarmPhase
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.observation import Numeric
from asepsis.core.trust.libcrypto import PrivateKey, generate_key
from asepsis.core.trust.origin import ChainHead, OriginVerifier, Place, key_id, sign_batch
from asepsis.core.wire.origin import OriginBatch, attach_signature, decode_batch, encode_batch
from asepsis.tools.attack.rows import BELIEVED, REFUSED, VISIBLE, Row

VISIBLE_MS_MAX: Final = 2_000
"""What is withheld must show within this time."""


def rows(batches: Sequence[OriginBatch], *, spki_der: bytes, tls_key: PrivateKey) -> list[Row]:
    """Return what each attack on signed batches comes to.

    Args:
        batches: As origin signed them, in order and without a hole; one has values, one an alarm
            event, and later ones follow it.
        spki_der: The device's origin key, as the hub knows it.
        tls_key: The key that the attacker holds.
    """
    verifier = OriginVerifier(spki_der)
    genuine = next(batch for batch in batches if batch.numerics())
    for batch in batches:
        verifier.verify(batch)  # The control: what is not touched is believed.
    return [
        _forged("change-value", "Change a value", verifier, _other_value(genuine)),
        _forged("forge-idle", "Say that the device is idle", verifier, _idle(genuine)),
        _forged(
            "sign-with-tls-key",
            "Say so, signed with the TLS key that it holds",
            verifier,
            _signed_anew(genuine, tls_key, named=key_id(tls_key.spki_der)),
        ),
        _forged(
            "sign-as-origin",
            "Say so, signed with a key of its own under the origin key's name",
            verifier,
            _signed_anew(genuine, generate_key(), named=key_id(spki_der)),
        ),
        _replayed(batches),
        _after_restart(batches),
        _withheld(batches),
        _alarm_withheld(batches),
    ]


def _forged(name: str, title: str, verifier: OriginVerifier, forged: bytes) -> Row:
    try:
        verifier.verify(decode_batch(forged))
    except TrustError as error:
        return Row(name=name, title=title, outcome=REFUSED, detail=f"{error.code} {error}")
    return Row(name=name, title=title, outcome=BELIEVED, detail="the signature verifies")


def _encoded(batch: OriginBatch, *, numerics: Sequence[Numeric]) -> bytes:
    return encode_batch(
        batch.header,
        numerics=numerics,
        alarms=batch.alarm_events,
        digests=batch.waveform_digests(),
    )


def _other_value(batch: OriginBatch) -> bytes:
    first, *others = batch.numerics()
    changed = dataclasses.replace(first, value=first.value ^ 1)
    return attach_signature(_encoded(batch, numerics=[changed, *others]), batch.signature)


def _idle_part(batch: OriginBatch, *, named: bytes) -> bytes:
    header = dataclasses.replace(batch.header, clinical_state=ClinicalState.IDLE, key_id=named)
    return _encoded(dataclasses.replace(batch, header=header), numerics=batch.numerics())


def _idle(batch: OriginBatch) -> bytes:
    return attach_signature(_idle_part(batch, named=batch.key_id), batch.signature)


def _signed_anew(batch: OriginBatch, key: PrivateKey, *, named: bytes) -> bytes:
    return sign_batch(key, _idle_part(batch, named=named))


def _replayed(batches: Sequence[OriginBatch]) -> Row:
    place = ChainHead.of(batches[-1]).place(batches[0])
    new = place in (Place.NEXT, Place.AHEAD, Place.NEW_EPOCH)
    return Row(
        name="replay",
        title="Send what was signed before once more",
        outcome=BELIEVED if new else REFUSED,
        detail=f"its place is {place.value}: never news, and never live",
    )


def _after_restart(batches: Sequence[OriginBatch]) -> Row:
    last = batches[-1]
    place = ChainHead.start(last.epoch + 1).place(last)
    return Row(
        name="replay-of-a-boot",
        title="Send what an earlier boot signed",
        outcome=REFUSED if place is Place.OLD_EPOCH else BELIEVED,
        detail=f"its place is {place.value}",
    )


def _withheld(batches: Sequence[OriginBatch]) -> Row:
    head = ChainHead.of(batches[0])
    place = head.place(batches[2])
    try:
        renumbered = dataclasses.replace(
            batches[2], header=dataclasses.replace(batches[2].header, sequence=head.sequence + 1)
        )
        head.place(renumbered)
        seen = False
    except ChainBroken:
        seen = place is Place.AHEAD
    return Row(
        name="withhold-batch",
        title="Withhold a batch, and close the hole with the next",
        outcome=VISIBLE if seen else BELIEVED,
        detail=f"the next one's place is {place.value}, and it names the withheld digest",
    )


def _alarm_withheld(batches: Sequence[OriginBatch]) -> Row:
    title = "Withhold the batch with an alarm event"
    at, dropped = next(
        (number, batch)
        for number, batch in enumerate(batches)
        if not batch.header.lists_active
        and any(event.phase is AlarmPhase.ONSET for event in batch.alarm_events)
    )
    wanted = {e.condition_id for e in dropped.alarm_events if e.phase is AlarmPhase.ONSET}
    for later in batches[at + 1 :]:
        listed = {event.condition_id for event in later.alarm_events}
        if later.header.lists_active and wanted <= listed:
            gap_ns = later.instant.monotonic_ns - dropped.instant.monotonic_ns
            took_ms = max(gap_ns, 0) / 1e6 + later.header.interval_ms
            soon = took_ms <= VISIBLE_MS_MAX
            return Row(
                name="drop-alarm",
                title=title,
                outcome=VISIBLE if soon else BELIEVED,
                detail=f"a list signed within {took_ms:.0f} ms names the condition",
            )
    return Row(name="drop-alarm", title=title, outcome=BELIEVED, detail="no list came after it")
