"""Requests for the director's word: which device is to have which approved artefact.

This key is online, so it is worth little by itself: a device takes nothing that the vendor's
repository does not name and both approvers did not sign. It signs only what is built here.
"""

import hashlib

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from asepsis.core import errors
from asepsis.core.trust import answers
from asepsis.core.trust import requests as typed
from asepsis.core.trust.director import DirectorSet, Payloads, payloads
from asepsis.hub.signer import entries
from asepsis.hub.signer.desk import Desk
from asepsis.hub.signer.issuing import Case
from asepsis.hub.signer.keystore import Role


def sign_director(desk: Desk, request: typed.DirectorRequest, case: Case) -> answers.DirectorSigned:
    """Sign sets for devices that were enrolled here; the version only rises.

    Raises:
        IssuanceRefused: A device that this signer never enrolled, or a revoked one.
        Unavailable: The disk takes no more.
    """
    for wanted in request.sets:
        case.name = wanted.device
        _check_known(desk, wanted)
    version, now_ns = desk.state.director_version + 1, desk.now_ns
    made = [payloads(wanted, version=version, now_ns=now_ns) for wanted in request.sets]
    digest = hashlib.sha256(b"".join(p.targets + p.snapshot + p.timestamp for p in made))
    desk.append(
        entries.Directed(
            version=version,
            devices=tuple(wanted.device for wanted in request.sets),
            sha256=digest.digest(),
        )
    )
    key = desk.keys.key(Role.DIRECTOR)
    return answers.DirectorSigned(
        version=version,
        key_der=public_key(desk),
        sets=tuple(_signed(key, one) for one in made),
    )


def public_key(desk: Desk) -> bytes:
    """Return the director's public key, SubjectPublicKeyInfo in DER."""
    return (
        desk.keys.key(Role.DIRECTOR)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def _check_known(desk: Desk, wanted: DirectorSet) -> None:
    if wanted.device not in desk.state.behind:
        raise errors.IssuanceRefused("the director speaks to enrolled devices only")
    if wanted.device in desk.state.revoked_names:
        raise errors.IssuanceRefused("the device is revoked")


def _signed(key: ec.EllipticCurvePrivateKey, one: Payloads) -> answers.SignedSet:
    how = ec.ECDSA(hashes.SHA256())
    return answers.SignedSet(
        targets=one.targets,
        snapshot=one.snapshot,
        timestamp=one.timestamp,
        signatures=(
            key.sign(one.targets, how),
            key.sign(one.snapshot, how),
            key.sign(one.timestamp, how),
        ),
    )
