"""Keys above the data: their sources, the day keys, sealed columns, two ciphers."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import ConfigError, NotFound, SignatureInvalid
from asepsis.core.trust.sealing import (
    Aead,
    ColumnSealer,
    KekSource,
    KeyEncryptionKey,
    hkdf_sha256,
    kek_from_credential,
    kek_from_passphrase,
    throw_away_kek,
)
from asepsis.core.trust.sealing_cryptography import CryptographyAead
from asepsis.core.trust.sealing_days import DayKeys
from asepsis.core.trust.sealing_libcrypto import LibcryptoAead

AEADS: list[Callable[[], Aead]] = [CryptographyAead, LibcryptoAead]
KEY, NONCE = bytes(range(32)), bytes(12)


@pytest.fixture(params=AEADS, ids=["cryptography", "libcrypto"])
def aead(request: pytest.FixtureRequest) -> Aead:
    return request.param()


@given(plaintext=st.binary(max_size=2000), aad=st.binary(max_size=200))
def test_both_ciphers_give_the_same_bytes(plaintext: bytes, aad: bytes) -> None:
    sealed = CryptographyAead().seal(KEY, NONCE, plaintext, aad)
    assert LibcryptoAead().seal(KEY, NONCE, plaintext, aad) == sealed
    for cipher in (CryptographyAead(), LibcryptoAead()):
        assert cipher.open(KEY, NONCE, sealed, aad) == plaintext


def test_any_change_is_found(aead: Aead) -> None:
    sealed = aead.seal(KEY, NONCE, b"blood pressure", b"bed 1")
    flipped = bytes([sealed[0] ^ 1]) + sealed[1:]
    for wrong, aad in ((flipped, b"bed 1"), (sealed, b"bed 2"), (sealed[:-1], b"bed 1")):
        with pytest.raises(SignatureInvalid):
            aead.open(KEY, NONCE, wrong, aad)
    with pytest.raises(SignatureInvalid):
        aead.open(bytes(32), NONCE, sealed, b"bed 1")


@given(secret=st.binary(min_size=1, max_size=80), info=st.binary(max_size=40))
def test_hkdf_agrees_with_another_library(secret: bytes, info: bytes) -> None:
    other = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret)
    assert hkdf_sha256(secret, info=info) == other


def test_hkdf_test_vector() -> None:
    """Source: RFC 5869 appendix A.1, first 32 of 42 bytes."""
    derived = hkdf_sha256(
        b"\x0b" * 22, salt=bytes(range(13)), info=bytes.fromhex("f0f1f2f3f4f5f6f7f8f9")
    )
    assert derived.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"


def test_credential_of_systemd(tmp_path: Path) -> None:
    (tmp_path / "asepsis-kek").write_bytes(b"s" * 32)
    kek = kek_from_credential(tmp_path)
    assert kek.source is KekSource.CREDENTIAL
    assert "TPM" in kek.describe()
    assert "asepsis-kek" in kek.describe()
    assert kek.secret != b"s" * 32
    assert kek == kek_from_credential(tmp_path)


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 4097, None])
def test_a_bad_credential_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "asepsis-kek").write_bytes(content)
    with pytest.raises(ConfigError):
        kek_from_credential(tmp_path)


def passphrase_file(folder: Path, text: bytes = b"correct horse battery\n") -> Path:
    path = folder / "passphrase"
    path.write_bytes(text)
    path.chmod(0o600)
    return path


def test_passphrase_gives_the_same_key_each_time(tmp_path: Path) -> None:
    path, salt_file = passphrase_file(tmp_path), tmp_path / "data" / "salt"
    kek = kek_from_passphrase(path, salt_file=salt_file)
    assert kek == kek_from_passphrase(path, salt_file=salt_file)
    other = Scrypt(salt=salt_file.read_bytes(), length=32, n=1 << 15, r=8, p=1)
    assert kek.secret == other.derive(b"correct horse battery")
    assert "passphrase" in kek.describe()
    assert stat.S_IMODE(salt_file.stat().st_mode) == 0o600
    assert kek != kek_from_passphrase(path, salt_file=tmp_path / "salt2")


def test_a_bad_passphrase_file_is_refused(tmp_path: Path) -> None:
    salt_file = tmp_path / "salt"
    with pytest.raises(ConfigError, match="12 bytes"):
        kek_from_passphrase(passphrase_file(tmp_path, b"short\n"), salt_file=salt_file)
    path = passphrase_file(tmp_path)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="readable by others"):
        kek_from_passphrase(path, salt_file=salt_file)
    path.chmod(0o600)
    salt_file.write_bytes(b"short")
    with pytest.raises(ConfigError, match="salt"):
        kek_from_passphrase(path, salt_file=salt_file)
    with pytest.raises(ConfigError, match="File exists"):
        kek_from_passphrase(path, salt_file=path / "salt")


def test_a_throw_away_key_says_so_and_never_shows_itself() -> None:
    kek = throw_away_kek()
    assert "throw-away" in kek.describe()
    assert repr(kek.secret)[2:-1] not in repr(kek)
    assert throw_away_kek() != kek


def test_day_keys_are_durable_wrapped_and_bound(tmp_path: Path, aead: Aead) -> None:
    kek = throw_away_kek()
    days = DayKeys(tmp_path, kek=kek, aead=aead)
    sealed = days.seal("vitals", 5, b"aad", b"72 bpm")
    assert DayKeys(tmp_path, kek=kek, aead=aead).open("vitals", 5, b"aad", sealed) == b"72 bpm"
    assert days.days("vitals") == [5]
    assert days.seal("vitals", 5, b"aad", b"72 bpm") != sealed, "nonces are fresh"
    swapped = DayKeys(tmp_path, kek=kek, aead=aead)
    (tmp_path / "vitals.5.key").rename(tmp_path / "alert.5.key")
    with pytest.raises(SignatureInvalid):
        swapped.open("alert", 5, b"aad", sealed)
    with pytest.raises(NotFound):
        swapped.open("vitals", 5, b"aad", sealed)


def test_a_destroyed_key_is_gone(tmp_path: Path) -> None:
    days = DayKeys(tmp_path, kek=throw_away_kek(), aead=CryptographyAead())
    sealed = days.seal("vitals", 5, b"", b"72 bpm")
    days.destroy("vitals", 5)
    days.destroy("vitals", 5)
    with pytest.raises(NotFound):
        days.open("vitals", 5, b"", sealed)
    days.seal("vitals", 5, b"", b"a new key of the same day")
    with pytest.raises(SignatureInvalid):
        days.open("vitals", 5, b"", sealed)


def test_another_kek_is_refused_at_once(tmp_path: Path) -> None:
    """Goal: a wrong passphrase is found at the start, not at the first old record."""
    DayKeys(tmp_path, kek=throw_away_kek(), aead=CryptographyAead())
    with pytest.raises(ConfigError, match="another key-encryption key"):
        DayKeys(tmp_path, kek=throw_away_kek(), aead=CryptographyAead())


def test_scopes_are_names_not_paths(tmp_path: Path) -> None:
    days = DayKeys(tmp_path, kek=throw_away_kek(), aead=CryptographyAead())
    for scope, day in (("../evil", 1), ("", 1), ("vitals", -1)):
        with pytest.raises(ConfigError):
            days.seal(scope, day, b"", b"")


def test_many_days_may_be_read(tmp_path: Path) -> None:
    days = DayKeys(tmp_path, kek=throw_away_kek(), aead=CryptographyAead())
    sealed = [days.seal("vitals", day, b"", str(day).encode()) for day in range(300)]
    assert [days.open("vitals", day, b"", sealed[day]) for day in (0, 150, 299)] == [
        b"0",
        b"150",
        b"299",
    ]


def test_columns_are_sealed_each_for_itself(aead: Aead) -> None:
    sealer = ColumnSealer(KeyEncryptionKey(KekSource.THROW_AWAY, bytes(32)), aead=aead)
    sealed = sealer.seal_value("patient.name", b"CANARY^JANE")
    assert b"CANARY" not in sealed
    assert sealer.open_value("patient.name", sealed) == b"CANARY^JANE"
    assert sealer.seal_value("patient.name", b"CANARY^JANE") != sealed
    for column, wrong in (("patient.id", sealed), ("patient.name", b"\x02" + sealed[1:])):
        with pytest.raises(SignatureInvalid):
            sealer.open_value(column, wrong)
    with pytest.raises(SignatureInvalid):
        sealer.open_value("patient.name", sealed[:20])


def test_lookup_hashes_find_equal_values_in_one_column_only() -> None:
    kek = throw_away_kek()
    sealer = ColumnSealer(kek, aead=CryptographyAead())
    hashed = sealer.lookup_hash("patient.mrn", b"4711")
    assert len(hashed) == 32
    assert ColumnSealer(kek, aead=LibcryptoAead()).lookup_hash("patient.mrn", b"4711") == hashed
    assert sealer.lookup_hash("visit.mrn", b"4711") != hashed
    assert sealer.lookup_hash("patient.mrn", b"4712") != hashed
