"""Signatures of live patches: as the kernel reads them, by a key that signs no kernel."""

import datetime as dt
import hashlib
import struct
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from asepsis.core.errors import ConfigError, ContentMismatch, SignatureInvalid
from asepsis.core.trust import libcrypto
from asepsis.core.wire.parcel import BLOCK, ParcelKind, decode_content, decode_head
from asepsis.tools.imagebuild import livepatch
from asepsis.tools.imagebuild.modsign import MAGIC, sign_module
from asepsis.tools.imagebuild.secureboot import MODULE, SecureBootKeys, enrol, make_keys

NOW = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
STORE = bytes.fromhex("782cf3aa7b949a43a1802e144ec37792")
SHA384 = bytes.fromhex("6e877670c280e64eaad228b349a6865b")
SHA256 = bytes.fromhex("922ab13b3eae4c46b1de4e0d4ea5bd5d")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> SecureBootKeys:
    return make_keys(tmp_path_factory.mktemp("keys"), now=NOW)


def test_openssl_verifies_the_signature_of_a_module(keys: SecureBootKeys, tmp_path: Path) -> None:
    module = b"\x7fELF a module"
    signed = sign_module(module, key=keys.key(MODULE), certificate=keys.certificate(MODULE))
    assert signed.startswith(module)
    assert signed.endswith(MAGIC)
    trailer = signed[-len(MAGIC) - 12 : -len(MAGIC)]
    algorithm, digest, kind, signer, key_id, size = struct.unpack(">BBBBB3xI", trailer)
    assert (algorithm, digest, kind, signer, key_id) == (0, 0, 2, 0, 0)
    assert len(signed) == len(module) + size + 12 + len(MAGIC)
    (tmp_path / "module").write_bytes(module)
    (tmp_path / "signature").write_bytes(signed[len(module) : len(module) + size])
    certificate = str(keys.certificate(MODULE))
    words = ["openssl", "cms", "-verify", "-inform", "DER", "-in", "signature", "-binary"]
    words += ["-content", "module", "-certfile", certificate, "-CAfile", certificate]
    words += ["-purpose", "any", "-partial_chain", "-out", "out", "-no_check_time"]
    done = subprocess.run(words, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_module_is_signed_by_its_own_pair_only(keys: SecureBootKeys, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="another one"):
        sign_module(b"m", key=keys.key("db"), certificate=keys.certificate(MODULE))
    with pytest.raises(ConfigError, match="cannot use"):
        sign_module(b"m", key=tmp_path / "absent", certificate=keys.certificate(MODULE))
    with pytest.raises(ConfigError, match="no RSA key"):
        sign_module(b"m", key=keys.key("delivery"), certificate=keys.certificate(MODULE))


def test_the_module_key_is_revoked_for_kernel_images_and_issues_nothing(
    keys: SecureBootKeys,
) -> None:
    template = bytearray(b"\xff" * 65_536)
    template[48:50] = struct.pack("<H", 72)
    template[72:88] = STORE
    template[88:92] = struct.pack("<I", 60_000)
    store = enrol(bytes(template), keys)
    certificate = x509.load_pem_x509_certificate(keys.certificate(MODULE).read_bytes())
    digest = hashlib.sha384(certificate.tbs_certificate_bytes).digest()
    at = store.index(SHA384)
    assert struct.unpack_from("<III", store, at + 16) == (28 + 80, 0, 80)
    # Owner, hash, and a time of zeros: revoked whenever it was signed.
    assert store[at + 44 : at + 108] == digest + bytes(16)
    assert SHA256 not in store  # By that the kernel would refuse its modules too.
    limits = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert limits.critical
    assert not limits.value.ca


def test_a_parcel_is_signed_and_put_on_a_medium(keys: SecureBootKeys, tmp_path: Path) -> None:
    medium = tmp_path / "medium.img"
    livepatch.empty_medium(medium)
    made = livepatch.parcel_of(b"module", name="fix_one", number=7, keys=keys)
    livepatch.deliver(made, medium)
    raw = medium.read_bytes()
    head = decode_head(raw[:BLOCK])
    assert head is not None
    content = raw[BLOCK : BLOCK + head.content_bytes]
    spki = keys.delivery_spki.read_bytes()
    libcrypto.verify(spki, head.signature, content)
    with pytest.raises(SignatureInvalid):
        libcrypto.verify(spki, head.signature, content + b".")
    parcel = decode_content(content)
    assert (parcel.kind, parcel.number, parcel.payload) == (ParcelKind.KERNEL_PATCH, 7, b"module")
    withdrawn = livepatch.parcel_of(b"", name="fix_one", number=8, keys=keys)
    assert decode_content(withdrawn[BLOCK:]).kind is ParcelKind.KERNEL_UNPATCH
    (tmp_path / "other").write_bytes(b"x")
    with pytest.raises(ConfigError, match="no service medium"):
        livepatch.deliver(made, tmp_path / "other")


def test_a_kernel_says_its_release() -> None:
    head = bytearray(0x400)
    head[0x202:0x206] = b"HdrS"
    head[0x20E:0x210] = struct.pack("<H", 0x180)
    text = b"6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org) #1"
    head[0x380 : 0x380 + len(text)] = text
    assert livepatch.kernel_release(bytes(head)) == "6.1.0-56-cloud-amd64"
    for wrong in (b"", bytes(0x400), bytes(head[:0x380])):
        with pytest.raises(ContentMismatch):
            livepatch.kernel_release(wrong)
