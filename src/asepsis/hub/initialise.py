"""What `asepsis hub init` does: folders, users, keys and certificates. Prints nothing.

The root key exists only inside `initialise`: it is written, encrypted, to a file that the operator
names outside the data folder, or, for a demo, thrown away. The signer makes its own keys; the root
sees the public half of the issuing key only.
"""

import hashlib
import os
import pwd
import shutil
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from asepsis.core.errors import ConfigError
from asepsis.core.trust.authority import Issuer, issuing_certificate, root_certificate
from asepsis.core.trust.signer_values import SERVER_NAMES_MAX
from asepsis.hub.keyholder import HUB_USER, SIGNER_USER, Separation, separation, signer_command

PASSPHRASE_BYTES_MIN: Final = 12
FALLBACK_HUB_UID: Final = 60_801
FALLBACK_SIGNER_UID: Final = 60_802
"""Used where users cannot be made; 60578 to 61183 is free by systemd's UIDS-GIDS."""
SIGNER_TIMEOUT_S: Final = 60.0
HOSPITAL_CHARS_MAX: Final = 64
_PEM: Final = serialization.Encoding.PEM
_DER: Final = serialization.Encoding.DER


@dataclass(frozen=True, slots=True, kw_only=True)
class RootKeyFile:
    """Where the root key goes.

    Attributes:
        path: A new file outside the data folder, best on a medium that is then locked away.
        passphrase: At least 12 bytes; encrypts it (PKCS#8, RFC 8018 PBES2).
    """

    path: Path
    passphrase: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Pkcs11Token:
    """A PKCS#11 token that shall hold the four keys instead of the sealed file.

    Attributes:
        module: Shared library of the token's vendor.
        token: Label of the token.
        pin_file: File with the user PIN, readable by the signer's user.
    """

    module: Path
    token: str
    pin_file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class InitOptions:
    """What the operator decides once.

    Attributes:
        data: Data folder, new or empty.
        hospital: Name of the hospital, for people; 1 to 64 characters.
        host_names: DNS names and IP addresses under which devices reach the hub; fixed for ever.
        root_key: Where the root key goes; `None` throws it away (demo: no second issuing
            certificate can ever be made).
        secret_file: Secret that shall seal the signer's keys; `None` for one beside them.
        pkcs11: Token that shall hold them instead.
        time_uncertainty_ms: Largest error of this host's clock that the operator vouches for.
    """

    data: Path
    hospital: str
    host_names: tuple[str, ...]
    root_key: RootKeyFile | None = None
    secret_file: Path | None = None
    pkcs11: Pkcs11Token | None = None
    time_uncertainty_ms: int = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class InitOutcome:
    """What was made, for the command to tell.

    Attributes:
        root_der: Hospital root.
        pin: SHA-256 of it in lower-case hex: third part of every token.
        root_key_path: Where the root key went, or `None` if it was thrown away.
        server_uri: Name of the hub.
        separation: Who owns what.
    """

    root_der: bytes
    pin: str
    root_key_path: Path | None
    server_uri: str
    separation: Separation


def initialise(
    options: InitOptions, *, clock: Callable[[], int], who: Separation | None = None
) -> InitOutcome:
    """Make a hospital: folders, the signer's keys, root and issuing certificate.

    Args:
        options: What the operator decided.
        clock: Wall time in nanoseconds since 1970.
        who: Users to use; `None` finds or makes them (`service_users`); a demo passes
            `numbered_users()`, which leaves the machine's list of users alone.

    Raises:
        ConfigError: The folder is in use, the root key file would lie in it or exists, the
            passphrase is short, or the signer refused.

    Source: RFC 5280 section 4.2.1.9 (path length 0); NIST SP 800-57 part 2 (offline root).
    """
    _check(options)
    who = who or service_users()
    _make_folders(options.data, who=who)
    spki = _signer_makes_keys(options, who=who)
    now_ns = clock()
    root_key = ec.generate_private_key(ec.SECP256R1())
    root = root_certificate(
        root_key, hospital=options.hospital, now_ns=now_ns, serial=x509.random_serial_number()
    )
    if options.root_key is not None:
        _write_root_key(root_key, options.root_key)
    issuing = issuing_certificate(
        spki,
        root=Issuer(root, root_key),
        hospital=options.hospital,
        now_ns=now_ns,
        serial=x509.random_serial_number(),
    )
    server_uri = uuid.uuid4().urn
    _signer_takes(options, who=who, issuing=issuing, root=root, server_uri=server_uri)
    _write_public(options.data, issuing=issuing, root=root)
    root_der = root.public_bytes(_DER)
    return InitOutcome(
        root_der=root_der,
        pin=hashlib.sha256(root_der).hexdigest(),
        root_key_path=options.root_key.path if options.root_key else None,
        server_uri=server_uri,
        separation=who,
    )


def service_users() -> Separation:
    """Return the users of hub and signer; as root, finds or makes two system users.

    Where users cannot be made, fixed numbers that nobody else uses serve as well: file modes and
    SO_PEERCRED compare numbers only.
    """
    if os.geteuid() != 0:
        uid, gid = os.geteuid(), os.getegid()
        return Separation(separated=False, hub_uid=uid, hub_gid=gid, signer_uid=uid, signer_gid=gid)
    hub = _system_user(HUB_USER, otherwise=FALLBACK_HUB_UID)
    signer = _system_user(SIGNER_USER, otherwise=FALLBACK_SIGNER_UID)
    return Separation(
        separated=True,
        hub_uid=hub[0],
        hub_gid=hub[1],
        signer_uid=signer[0],
        signer_gid=signer[1],
    )


def numbered_users() -> Separation:
    """Return two fixed numbers as users if this is root, else this one user; makes nobody."""
    if os.geteuid() != 0:
        return service_users()
    return Separation(
        separated=True,
        hub_uid=FALLBACK_HUB_UID,
        hub_gid=FALLBACK_HUB_UID,
        signer_uid=FALLBACK_SIGNER_UID,
        signer_gid=FALLBACK_SIGNER_UID,
    )


def renew_issuing(
    data: Path,
    *,
    root_key: RootKeyFile,
    clock: Callable[[], int],
    secret_file: Path | None = None,
) -> bytes:
    """Certify the issuing key for another 5 years, with the root key fetched from its safe.

    The signer must not run meanwhile: it is told through its log.

    Returns:
        The new issuing certificate, DER.

    Raises:
        ConfigError: The root key does not open or is another root's, or the signer refused.

    Source: RFC 5280 section 4.2.1.9; docs/howto/hospital-ca.md.
    """
    who = separation(data)
    root = x509.load_pem_x509_certificate((data / "ca" / "root.crt").read_bytes())
    old = x509.load_pem_x509_certificate((data / "ca" / "issuing.crt").read_bytes())
    key = load_root(root_key)
    if key.public_key() != root.public_key():
        raise ConfigError("this root key belongs to another hospital")
    spki = old.public_key().public_bytes(_DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    issuing = issuing_certificate(
        spki,
        root=Issuer(root, key),
        hospital=_organization(root),
        now_ns=clock(),
        serial=x509.random_serial_number(),
    )
    told = {"type": "reissued", "issuing_der": issuing.public_bytes(_DER)}
    _run_signer("install", data, secret_file=secret_file, who=who, told=told)
    _write_public(data, issuing=issuing, root=root)
    return issuing.public_bytes(_DER)


def load_root(root_key: RootKeyFile) -> ec.EllipticCurvePrivateKey:
    """Open the encrypted root key file.

    Raises:
        ConfigError: It does not read, or the passphrase is another.

    Source: RFC 5958, RFC 8018.
    """
    try:
        key = serialization.load_pem_private_key(root_key.path.read_bytes(), root_key.passphrase)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"root key {root_key.path} does not open") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError("the root key is not an elliptic curve key")
    return key


def _check(options: InitOptions) -> None:
    data = options.data.resolve()
    if data.exists() and any(data.iterdir()):
        raise ConfigError(f"{data} is not empty", hint="init is done once in a hospital's life")
    if not 1 <= len(options.hospital) <= HOSPITAL_CHARS_MAX:
        raise ConfigError("the hospital's name has 1 to 64 characters")
    if not 1 <= len(options.host_names) <= SERVER_NAMES_MAX:
        raise ConfigError(f"the hub has 1 to {SERVER_NAMES_MAX} host names")
    if options.root_key is None:
        return
    path = options.root_key.path.resolve()
    if path.is_relative_to(data):
        raise ConfigError("the root key never lies in the data folder", hint="use another medium")
    if path.exists() or not path.parent.is_dir():
        raise ConfigError(f"{path} exists, or its folder does not")
    if len(options.root_key.passphrase) < PASSPHRASE_BYTES_MIN:
        raise ConfigError(f"the root key's passphrase has {PASSPHRASE_BYTES_MIN} bytes or more")


def _make_folders(data: Path, *, who: Separation) -> None:
    data.mkdir(mode=0o755, parents=True, exist_ok=True)
    data.chmod(0o755)  # Root, CA certificates and sockets are for others; the rest is not.
    for name, mode in (("run", 0o755), ("ca", 0o755), ("hub", 0o700), ("signer", 0o700)):
        folder = data / name
        folder.mkdir(mode=mode)
        folder.chmod(mode)
    if os.geteuid() == 0:
        os.chown(data / "hub", who.hub_uid, who.hub_gid)
        os.chown(data / "signer", who.signer_uid, who.signer_gid)


def _signer_makes_keys(options: InitOptions, *, who: Separation) -> bytes:
    token = options.pkcs11
    config = {
        "time_uncertainty_ms": options.time_uncertainty_ms,
        "pkcs11": None
        if token is None
        else {
            "module": str(token.module),
            "token": token.token,
            "pin_file": str(token.pin_file),
        },
    }
    answer = _run_signer(
        "init", options.data, secret_file=options.secret_file, who=who, told=config
    )
    try:
        return bytes.fromhex(answer.decode("ascii").strip())
    except ValueError as error:
        raise ConfigError("the signer gave no public key") from error


def _signer_takes(
    options: InitOptions,
    *,
    who: Separation,
    issuing: x509.Certificate,
    root: x509.Certificate,
    server_uri: str,
) -> None:
    told = {
        "type": "installed",
        "issuing_der": issuing.public_bytes(_DER),
        "root_der": root.public_bytes(_DER),
        "server_uri": server_uri,
        "server_names": options.host_names,
    }
    _run_signer("install", options.data, secret_file=options.secret_file, who=who, told=told)


def _run_signer(
    action: str, data: Path, *, secret_file: Path | None, who: Separation, told: dict[str, Any]
) -> bytes:
    command = signer_command(action, data=data.resolve(), who=who)
    if secret_file is not None:
        command += ["--secret-file", str(secret_file.resolve())]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            command,
            input=msgspec.json.encode(told),
            capture_output=True,
            timeout=SIGNER_TIMEOUT_S,
            cwd="/",
            check=True,
        )
    except subprocess.CalledProcessError as error:
        words = error.stderr.decode("utf-8", "replace")[-400:].strip()
        raise ConfigError(f"the signer refused: {words}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError("the signer could not be started") from error
    return done.stdout


def _write_root_key(key: ec.EllipticCurvePrivateKey, root_key: RootKeyFile) -> None:
    pem = key.private_bytes(
        _PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(root_key.passphrase),
    )
    try:
        fd = os.open(root_key.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        with os.fdopen(fd, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigError(f"root key file {root_key.path} cannot be written") from error


def _organization(root: x509.Certificate) -> str:
    return str(root.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value)


def _write_public(data: Path, *, issuing: x509.Certificate, root: x509.Certificate) -> None:
    for name, certificate in (("issuing.crt", issuing), ("root.crt", root)):
        path = data / "ca" / name
        path.write_bytes(certificate.public_bytes(_PEM))
        path.chmod(0o644)


def _system_user(name: str, *, otherwise: int) -> tuple[int, int]:
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        found = _make_user(name)
    return (found.pw_uid, found.pw_gid) if found else (otherwise, otherwise)


def _make_user(name: str) -> pwd.struct_passwd | None:
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is None:
        return None
    made = subprocess.run(  # noqa: S603 - absolute path, fixed arguments
        [
            useradd,
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            "--shell",
            "/usr/sbin/nologin",
            name,
        ],
        capture_output=True,
        timeout=SIGNER_TIMEOUT_S,
        check=False,
    )
    if made.returncode != 0:
        return None
    return pwd.getpwnam(name)
