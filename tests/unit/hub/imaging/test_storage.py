"""Sealed objects: what was written comes back, what was changed does not open."""

import hashlib
import os
import secrets
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asepsis.core.errors import BackPressure, NotFound, SignatureInvalid
from asepsis.core.trust.sealing import KekSource, KeyEncryptionKey
from asepsis.core.trust.sealing_cryptography import CryptographyAead
from asepsis.hub.imaging.storage import HEAD_BYTES, PIECE_BYTES, Vault

KEK = KeyEncryptionKey(KekSource.THROW_AWAY, secrets.token_bytes(32))


def vault_in(folder: Path, *, reserve_bytes: int = 0) -> Vault:
    vault = Vault(folder, kek=KEK, aead=CryptographyAead(), reserve_bytes=reserve_bytes)
    vault.open()
    return vault


def stored(vault: Vault, data: bytes, *, step: int = 1 << 20) -> str:
    writer = vault.create()
    for at in range(0, len(data), step):
        writer.write(data[at : at + step])
    assert writer.settle() == hashlib.sha256(data).digest()
    writer.keep()
    return writer.name


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    length=st.sampled_from([0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES]),
    step=st.integers(1_000, 400_000),
    places=st.lists(st.tuples(st.integers(0, 400_000), st.integers(0, 200_000)), max_size=5),
)
def test_bytes_come_back(
    tmp_path: Path, length: int, step: int, places: list[tuple[int, int]]
) -> None:
    vault = vault_in(tmp_path)
    data = os.urandom(length)
    reader = vault.reader(stored(vault, data, step=step), byte_count=length)
    assert b"".join(reader.pieces()) == data
    for offset, count in places:
        assert reader.read(offset, count) == data[offset : offset + count]
    reader.close()


def test_nothing_is_written_in_clear(tmp_path: Path) -> None:
    vault = vault_in(tmp_path)
    name = stored(vault, b"Canary^Ida" * 50_000)
    assert b"Canary" not in vault.path(name).read_bytes()


@pytest.mark.parametrize("place", [9, HEAD_BYTES + 5, -1])
def test_a_changed_object_does_not_open(tmp_path: Path, place: int) -> None:
    vault = vault_in(tmp_path)
    data = os.urandom(PIECE_BYTES + 10)
    path = vault.path(stored(vault, data))
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(raw)
    with pytest.raises(SignatureInvalid):
        b"".join(vault.reader(path.name, byte_count=len(data)).pieces())


def test_pieces_cannot_be_swapped_nor_the_end_cut(tmp_path: Path) -> None:
    vault = vault_in(tmp_path)
    data = os.urandom(2 * PIECE_BYTES)
    path = vault.path(stored(vault, data))
    raw = path.read_bytes()
    piece = (len(raw) - HEAD_BYTES) // 2
    first, second = raw[HEAD_BYTES : HEAD_BYTES + piece], raw[HEAD_BYTES + piece :]
    for changed in (second + first, first):
        path.write_bytes(raw[:HEAD_BYTES] + changed)
        reader = vault.reader(path.name, byte_count=len(data))
        with pytest.raises(SignatureInvalid):
            b"".join(reader.pieces())
        reader.close()


def test_a_removed_object_is_gone_with_its_key(tmp_path: Path) -> None:
    vault = vault_in(tmp_path)
    path = vault.path(stored(vault, b"x" * 1_000))
    with path.open("rb") as held:
        vault.remove(path.name)
        assert held.read(HEAD_BYTES) == bytes(HEAD_BYTES)
    vault.remove(path.name)
    with pytest.raises(NotFound):
        vault.reader(path.name, byte_count=1_000)


def test_what_was_half_received_goes_at_the_next_start(tmp_path: Path) -> None:
    vault = vault_in(tmp_path)
    writer = vault.create()
    writer.write(b"x" * 300_000)
    assert vault.open() == 1
    writer.discard()
    assert not list(vault.incoming.iterdir())


def test_a_disk_at_its_reserve_takes_nothing(tmp_path: Path) -> None:
    vault = vault_in(tmp_path, reserve_bytes=1 << 60)
    with pytest.raises(BackPressure):
        vault.create()
