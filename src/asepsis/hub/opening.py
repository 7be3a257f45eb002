"""Opens what the hub stands on, from its settings: top key, journal, state, TLS identity."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from asepsis.core.errors import ConfigError
from asepsis.core.journal.limits import JournalLimits
from asepsis.core.journal.sqlite import SqliteJournal
from asepsis.core.trust.identity import load_certificate, not_after_ns, not_before_ns
from asepsis.core.trust.libcrypto import generate_key, write_key
from asepsis.core.trust.sealing import (
    ColumnSealer,
    KeyEncryptionKey,
    kek_from_credential,
    kek_from_passphrase,
    throw_away_kek,
    write_durably,
)
from asepsis.core.trust.sealing_cryptography import CryptographyAead
from asepsis.core.trust.sealing_days import DayKeys
from asepsis.core.trust.tls import KeyAndChain
from asepsis.hub.keys import SignerClient
from asepsis.hub.settings import Sealing, Settings, lane_budgets
from asepsis.hub.store.migrate import migrate
from asepsis.hub.store.store import Store

RENEW_PART: Final = 3
"""The hub renews its own certificate when one part in this many of its validity is left."""
COMMON_NAME: Final = "asepsis hub"
SALT_FILE: Final = "kek.salt"


def open_kek(sealing: Sealing, *, hub_folder: Path) -> KeyEncryptionKey:
    """Return the key above all keys.

    Raises:
        ConfigError: The credential or passphrase file is absent or unfit.
    """
    if sealing.source == "credential":
        folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
        if not folder:
            raise ConfigError(
                "no systemd credentials",
                hint="LoadCredentialEncrypted=asepsis-kek in the unit, or sealing.source",
            )
        return kek_from_credential(Path(folder))
    if sealing.source == "passphrase":
        if not sealing.passphrase_file:
            raise ConfigError("sealing.passphrase_file is empty")
        return kek_from_passphrase(Path(sealing.passphrase_file), salt_file=hub_folder / SALT_FILE)
    return throw_away_kek()


def open_journal(
    settings: Settings, kek: KeyEncryptionKey, *, clock: Callable[[], int]
) -> SqliteJournal:
    """Open the hub's journal in `<data>/hub/journal`.

    Raises:
        ConfigError: Another hub has it open, or it belongs to another key.
    """
    folder = settings.folder() / "hub"
    cipher = DayKeys(folder / "keys", kek=kek, aead=CryptographyAead())
    return SqliteJournal(
        folder / "journal",
        cipher=cipher,
        lanes=lane_budgets(settings.journal.lanes),
        clock=clock,
        limits=JournalLimits(
            reserve_bytes=settings.journal.reserve_bytes, linger_s=settings.journal.linger_s
        ),
    )


def open_store(settings: Settings, kek: KeyEncryptionKey, *, clock: Callable[[], int]) -> Store:
    """Open the state database and bring it to this program's schema.

    Raises:
        ConfigError: A URL that is not supported, or a newer schema.
        Unavailable: The database does not answer.
    """
    store = Store(settings.state(), ColumnSealer(kek, aead=CryptographyAead()), clock)
    migrate(store)
    return store


def read_certificate(path: Path) -> bytes:
    """Return the DER of the first certificate of a PEM or DER file.

    Raises:
        ConfigError: Absent or no certificate.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="run `asepsis hub init`") from error
    if not raw.startswith(b"-----"):
        return raw
    try:
        certificate = x509.load_pem_x509_certificate(raw)
    except ValueError as error:
        raise ConfigError(f"{path}: no certificate") from error
    return certificate.public_bytes(Encoding.DER)


def identity_files(settings: Settings) -> KeyAndChain:
    """Return where the hub keeps its own TLS key and chain."""
    folder = settings.folder() / "hub" / "tls"
    return KeyAndChain(chain_path=folder / "chain.pem", key_path=folder / "key.pem")


def identity_is_due(files: KeyAndChain, *, now_ns: int) -> bool:
    """Whether the hub's own certificate is absent or in the last third of its validity."""
    if not files.chain_path.exists() or not files.key_path.exists():
        return True
    leaf = load_certificate(read_certificate(files.chain_path))
    ends_ns = not_after_ns(leaf)
    return now_ns > ends_ns - (ends_ns - not_before_ns(leaf)) // RENEW_PART


async def renew_identity(settings: Settings, signer: SignerClient, files: KeyAndChain) -> None:
    """Make the hub's own key if it has none, and have the signer certify it.

    Raises:
        IssuanceRefused: A name that was not fixed at init.
        Unavailable: The signer does not answer; the old certificate stays in use.
    """
    files.key_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not files.key_path.exists():
        write_key(generate_key(), files.key_path)
    issued = await signer.server_certificate(_request(files.key_path), settings.names)
    chain = b"".join(load_certificate(der).public_bytes(Encoding.PEM) for der in issued.chain_der)
    write_durably(files.chain_path, chain)


def _request(key_path: Path) -> bytes:
    """Return a PKCS#10 request for the key; names and purpose are the signer's to set."""
    key = load_pem_private_key(key_path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{key_path}: not a P-256 key")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, COMMON_NAME)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)
