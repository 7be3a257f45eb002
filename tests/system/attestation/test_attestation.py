"""Devices with real (software) TPMs at a real hub: who is verified, and who is refused."""

import base64
import hashlib
import json

import pytest
from attested_ward import HONEST, IMAGE, MODEL, SECURE, START, SWAP, AttestedWard
from hub_ward import GATEWAY, NATIVE, OTHER, SIGNING

from asepsis.core.errors import (
    Conflict,
    ContentMismatch,
    IdentityInvalid,
    InputError,
    NotPermitted,
    SignatureInvalid,
)
from asepsis.core.trust.tpm import ak_template, ek_template
from asepsis.edge.device.attesting import Attester
from asepsis.edge.device.proving import fingerprint
from asepsis.edge.device.tpm import Tpm
from asepsis.edge.device.tpm_keys import activate, keys, read_floor
from asepsis.tools.testing.software_tpm import SoftwareTpm, TpmMaker

PATCHED = hashlib.sha256(b"kernel 2").digest()


def bound(ward: AttestedWard, name: str, software: SoftwareTpm) -> None:
    """Commission a device that started the present release."""
    ward.maker.equip(software)
    software.measure(HONEST)
    ward.open(name)
    ward.bind(name, software)


def test_a_device_is_commissioned_booted_and_running_verified(
    ward: AttestedWard, software: SoftwareTpm
) -> None:
    """Goal: an honest device is shown as what it is, step by step."""
    assert ward.shown(SIGNING)["text"] == "not attested"
    bound(ward, SIGNING, software)
    assert ward.shown(SIGNING)["state"] == "bound"
    assert ward.shown(SIGNING)["tpm"] == "TPM certified by its maker"
    assert ward.attest(SIGNING, software).standing == "booted"
    assert ward.shown(SIGNING)["text"] == "booted verified: 1"
    ward.measure(software, START, SWAP)
    assert ward.attest(SIGNING, software, START, SWAP).standing == "running"
    assert ward.shown(SIGNING)["text"] == "running verified: 1 with 1 measured changes"
    with pytest.raises(ContentMismatch, match="does not explain"):
        ward.attest(SIGNING, software, START)
    assert ward.shown(SIGNING)["text"].startswith("NOT VERIFIED: the log does not explain")
    assert ward.attest(SIGNING, software, START, SWAP).standing == "running"
    found = ward.person.get("/api/attestation")
    assert [one["device"] for one in found["devices"]] == [SIGNING]
    acts = json.dumps(ward.person.get("/api/audit", after=0, limit=500))
    for act in ("open-attestation", "bind-tpm", "attest", "trust-tpm-maker"):
        assert f'"{act}"' in acts
    ward.open(OTHER)
    with pytest.raises(Conflict, match="another device"):
        ward.bind(OTHER, software)


def test_an_endorsement_key_that_a_person_recorded_is_shown_as_such(
    ward: AttestedWard, software: SoftwareTpm
) -> None:
    with Tpm(software.path) as tpm:
        ek = fingerprint(keys(tpm)[0])
    software.measure(HONEST)
    ward.open(NATIVE, ek_sha256=ek)
    with SoftwareTpm() as foreign, pytest.raises(IdentityInvalid, match="recorded"):
        ward.bind(NATIVE, foreign)
    ward.bind(NATIVE, software)
    assert ward.shown(NATIVE)["tpm"] == "TPM as recorded by administrator"
    assert ward.attest(NATIVE, software).standing == "booted"
    with pytest.raises(NotPermitted, match="opened"):
        ward.bind(NATIVE, software)
    ward.person.post(ward.path(NATIVE) + "/end", {})
    with pytest.raises(Conflict, match="not known"):
        ward.attest(NATIVE, software)


def test_a_tpm_that_nobody_vouches_for_is_refused(
    ward: AttestedWard, software: SoftwareTpm
) -> None:
    """Goal: foreign software TPMs, strangers' certificates and keys on paper are not bound."""
    ward.open(OTHER)
    with pytest.raises(IdentityInvalid):
        ward.bind(OTHER, software)
    TpmMaker("Maker of TPMs").equip(software)
    with pytest.raises(IdentityInvalid, match="no trusted maker"):
        ward.bind(OTHER, software)
    with pytest.raises(InputError):
        ward.open(GATEWAY)


def test_keys_of_two_tpms_are_not_bound(ward: AttestedWard, software: SoftwareTpm) -> None:
    """Goal: a genuine TPM does not vouch for an attestation key outside of it."""
    ward.maker.equip(software)
    ward.open(OTHER)
    with SoftwareTpm() as other, Tpm(other.path) as tpm:
        stranger = keys(tpm)[1]
    with ward.attester(OTHER, software) as attester:
        ek, _ = keys(attester.prover.tpm)
        offered = attester._post(  # noqa: SLF001 - what an attacker sends
            "/attestation/keys",
            {
                "ek": _base64(ek_template(ek.x, ek.y)),
                "ak": _base64(ak_template(stranger.x, stranger.y)),
                "chain": [_base64(ward.maker.certify(ek))],
            },
        )
        assert offered.keys() == {"credential", "sealer"}
        with pytest.raises(InputError, match="refused"):
            _open(attester, offered)
        with pytest.raises(IdentityInvalid, match="not in one TPM"):
            attester._post("/attestation/activation", {"secret": _base64(b"guess")})  # noqa: SLF001 - as above
        with pytest.raises(Conflict):
            attester._post("/attestation/activation", {"secret": _base64(b"again")})  # noqa: SLF001 - as above
    assert ward.shown(OTHER)["state"] == "open"


def test_replayed_relayed_and_foreign_answers_are_refused(
    ward: AttestedWard, software: SoftwareTpm
) -> None:
    bound(ward, OTHER, software)
    ward.attest(OTHER, software)
    with ward.attester(OTHER, software) as attester:
        nonce = bytes.fromhex(attester._post("/attestation/question", {})["nonce"])  # noqa: SLF001 - as above
        answer = attester.prover.answer(nonce, attester.tls_spki_der)
        attester._post("/attestation/answer", answer)  # noqa: SLF001 - as above
        with pytest.raises(Conflict, match="asked"):
            attester._post("/attestation/answer", answer)  # noqa: SLF001 - as above
        attester._post("/attestation/question", {})  # noqa: SLF001 - as above
        with pytest.raises(IdentityInvalid, match="another question"):
            attester._post("/attestation/answer", answer)  # noqa: SLF001 - as above
        # Relayed: the TPM of this device answers for a connection with another TLS key.
        with ward.attester(SIGNING, software) as elsewhere:
            relay = Attester(attester.prover, attester.hub, elsewhere.tls_spki_der)
            with pytest.raises(IdentityInvalid, match="another connection"):
                relay.attest()
    assert "another question" in ward.shown(OTHER)["text"]
    with SoftwareTpm() as foreign:
        ward.maker.equip(foreign)
        foreign.measure(HONEST)
        with pytest.raises(SignatureInvalid, match="attestation key"):
            ward.attest(OTHER, foreign)
    assert ward.attest(OTHER, software).standing == "booted"


def test_other_images_and_old_ones_under_the_floor_are_refused(
    ward: AttestedWard, software: SoftwareTpm
) -> None:
    """Goal: an old signed image is refused, by the floor that the TPM itself keeps."""
    bound(ward, NATIVE, software)
    assert ward.attest(NATIVE, software).release == "1"
    software.restart()
    software.measure({7: SECURE, 11: hashlib.sha256(b"enforcing=0").digest()})
    with pytest.raises(ContentMismatch, match="no known release"):
        ward.attest(NATIVE, software)
    software.restart()
    software.measure({7: hashlib.sha256(b"off").digest(), 11: IMAGE})
    with pytest.raises(ContentMismatch, match="Secure Boot"):
        ward.attest(NATIVE, software)
    ward.release("2", 2, PATCHED)
    ward.person.post("/api/attestation/floors", {"model": MODEL, "number": 2})
    software.restart()
    software.measure({7: SECURE, 11: PATCHED})
    assert ward.attest(NATIVE, software).counter == 3
    with Tpm(software.path) as tpm:
        assert read_floor(tpm) == 3
    software.restart()
    software.measure(HONEST)
    with pytest.raises(ContentMismatch, match="below the floor"):
        ward.attest(NATIVE, software)
    with pytest.raises(InputError, match="never lowered"):
        ward.person.post("/api/attestation/floors", {"model": MODEL, "number": 1})


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _open(attester: Attester, offered: dict[str, str]) -> bytes:
    parts = {key: base64.b64decode(value) for key, value in offered.items()}
    return activate(attester.prover.tpm, credential=parts["credential"], secret=parts["sealer"])
