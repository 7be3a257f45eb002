"""Our TPM commands against swtpm: keys, credentials, quotes, registers, and the floor."""

import hashlib
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import AsepsisError, ConfigError, InputError, NotFound
from asepsis.core.trust.attestation import QUOTED
from asepsis.core.trust.endorsement import seal
from asepsis.core.trust.tpm import ALG_NULL, EccKey, extend, read_ak, read_ek
from asepsis.edge.device.tpm import Tpm
from asepsis.edge.device.tpm_keys import (
    activate,
    attestation_key,
    certify_floor,
    ek_certificate,
    extend_pcr,
    keys,
    make_floor,
    quote,
    raise_floor,
    read_floor,
    read_pcrs,
)
from asepsis.tools.testing.software_tpm import SoftwareTpm, TpmMaker


def sealer() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def test_the_same_tpm_has_the_same_keys_after_a_restart(software: SoftwareTpm) -> None:
    """Goal: nothing of a key is stored outside of the TPM."""
    with Tpm(software.path) as tpm:
        before = keys(tpm)
    software.restart()
    with Tpm(software.path) as tpm:
        assert keys(tpm) == before


def test_a_credential_opens_in_its_tpm_for_its_key_only(tpm: Tpm) -> None:
    """Goal: the secret proves EK and AK are in one TPM."""
    ek, ak = keys(tpm)
    sealed = seal(b"s" * 32, ek=ek, ak_name=ak.name, sealer=sealer())
    assert activate(tpm, credential=sealed.blob, secret=sealed.sealer) == b"s" * 32
    of_another_key = seal(b"s" * 32, ek=ek, ak_name=ek.name, sealer=sealer())
    with pytest.raises(InputError):
        activate(tpm, credential=of_another_key.blob, secret=of_another_key.sealer)
    with SoftwareTpm() as other, Tpm(other.path) as foreign, pytest.raises(InputError):
        activate(foreign, credential=sealed.blob, secret=sealed.sealer)


def test_sealing_takes_a_point_on_the_curve_and_a_short_secret_only(tpm: Tpm) -> None:
    ek, ak = keys(tpm)
    off = EccKey(ek.public, ek.x, bytes(32))
    with pytest.raises(InputError, match="P-256"):
        seal(b"s", ek=off, ak_name=ak.name, sealer=sealer())
    with pytest.raises(InputError, match="secret"):
        seal(b"s" * 33, ek=ek, ak_name=ak.name, sealer=sealer())


def test_a_register_only_grows_and_is_empty_after_a_restart(software: SoftwareTpm) -> None:
    digest = hashlib.sha256(b"x").digest()
    with Tpm(software.path) as tpm:
        extend_pcr(tpm, 13, digest)
        assert read_pcrs(tpm, QUOTED)[13] == extend(bytes(32), digest)
    software.restart()
    with Tpm(software.path) as tpm:
        assert read_pcrs(tpm, QUOTED)[13] == bytes(32)


def test_the_floor_is_never_lowered(software: SoftwareTpm) -> None:
    with Tpm(software.path) as tpm:
        assert read_floor(tpm) is None
        assert raise_floor(tpm, 7) == 7
        assert raise_floor(tpm, 3) == 7
        # Removed by an owner and made anew: a counter begins above every one before.
        tpm.run(0x122, handles=(0x40000001, 0x01800A50), sessions=(0x40000009,))
        assert make_floor(tpm) > 7
        with pytest.raises(InputError, match="at once"):
            raise_floor(tpm, 1_000_000)
    software.restart()
    with Tpm(software.path) as tpm:
        assert (read_floor(tpm) or 0) > 7


def test_the_makers_certificate_is_read_from_where_makers_put_it(software: SoftwareTpm) -> None:
    maker = TpmMaker()
    with Tpm(software.path) as tpm, pytest.raises(NotFound):
        ek_certificate(tpm)
    maker.equip(software)
    with Tpm(software.path) as tpm:
        assert ek_certificate(tpm)[:2] == b"\x30\x82"


def test_a_path_without_tpm_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no TPM"):
        Tpm(tmp_path / "none")


def test_a_key_with_other_attributes_is_no_attestation_key(tpm: Tpm, ak: EccKey) -> None:
    """Goal: a key that may sign what the asker gives, or come from outside, is refused."""
    for bit in range(32):
        changed = bytearray(ak.public)
        changed[4 + bit // 8] ^= 1 << bit % 8
        with pytest.raises(InputError):
            read_ak(bytes(changed))
    ek, _ = keys(tpm)
    with pytest.raises(InputError):
        read_ak(ek.public)
    with pytest.raises(InputError):
        read_ek(ak.public)


def test_a_restricted_key_does_not_sign_what_looks_like_a_statement(tpm: Tpm) -> None:
    """Goal: nobody has the TPM sign a forged quote by giving its hash."""
    digest = hashlib.sha256(b"\xffTCG" + b"forged").digest()
    with attestation_key(tpm) as key:
        parameters = struct.pack(">H", 32) + digest + struct.pack(">H", ALG_NULL)
        parameters += struct.pack(">HIH", 0x8024, 0x40000007, 0)
        with pytest.raises(InputError, match="refused"):
            tpm.run(0x15D, handles=(key.handle,), parameters=parameters, sessions=(0x40000009,))


def test_statements_need_a_counter_and_a_known_register(tpm: Tpm) -> None:
    with attestation_key(tpm) as key:
        with pytest.raises(NotFound):
            certify_floor(tpm, key, extra=b"x" * 32)
        with pytest.raises(InputError, match="register 24"):
            quote(tpm, key, pcrs=(24,), extra=b"")


@given(junk=st.binary(max_size=200))
def test_junk_is_no_key(junk: bytes) -> None:
    for read in (read_ak, read_ek):
        with pytest.raises(AsepsisError):
            read(junk)
