"""Judges proofs of users: passcodes and tokens; and the table that turns users into roles.

A proof is taken whole or not at all: one pinned key, one algorithm, our audience, inside its time.

Source: DICOM PS3.7 annex D.3.3.7; RFC 7519 and RFC 8725 (JSON Web Tokens); RFC 7914 (scrypt).
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, cast

import jwt

from asepsis.core.errors import ConfigError, NotAuthenticated
from asepsis.edge.gateway.imaging.pdu_values import IdentityKind
from asepsis.edge.gateway.imaging.policy import FORMS
from asepsis.edge.gateway.imaging.settings import JwtSettings, RoleRow

PASSCODE_FILE_BYTES_MAX: Final = 1 << 20
PASSCODE_CHARS_MIN: Final = 8
USER_CHARS_MAX: Final = 256
CLAIMS_MAX: Final = 64
SALT_BYTES: Final = 16
_SCRYPT_N: Final = 1 << 14
_SCRYPT_R: Final = 8
_SCRYPT_MEMORY_BYTES_MAX: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Proven:
    """Who a proof proves.

    Attributes:
        user: Name, principal or subject.
        claims: Values of the role claim or attribute.
        answer: Server response for the peer.
    """

    user: str
    claims: frozenset[str] = frozenset()
    answer: bytes = b""


class Judge(Protocol):
    """Judges one form of proof."""

    def judge(self, primary: bytes, secondary: bytes) -> Proven:
        """Return who it proves.

        Raises:
            NotAuthenticated: It proves nobody.
        """
        ...


def roles_of(table: Sequence[RoleRow], form: str, proven: Proven) -> frozenset[str]:
    """Return what a user may do; nothing if no row names them.

    Args:
        table: Of the settings.
        form: How the user was proven.
        proven: Who it is.
    """
    found: set[str] = set()
    for row in table:
        fits = not row.claim or row.claim in proven.claims
        if row.form == form and fits and _named(row, proven.user):
            found.update(row.roles)
    return frozenset(found)


def _named(row: RoleRow, user: str) -> bool:
    if not row.user:
        return bool(row.claim)  # A row that asks for nothing gives nothing.
    if row.user.startswith("*@"):
        return user.endswith(row.user[1:]) and user.count("@") == 1
    return row.user == user


class Judges:
    """All forms of proof together.

    Args:
        judges: Form -> its judge.
        table: Of the settings.
    """

    def __init__(self, judges: Mapping[str, Judge], table: Sequence[RoleRow]) -> None:
        self._judges = judges
        self._table = table

    def judge(self, kind: int, primary: bytes, secondary: bytes) -> tuple[Proven, frozenset[str]]:
        """Return user and roles.

        Args:
            kind: An `IdentityKind`.
            primary: As in `pdu.UserIdentity`.
            secondary: As in `pdu.UserIdentity`.

        Raises:
            NotAuthenticated: No proof, one that does not hold, or a user without any role.
        """
        form = FORMS.get(kind, "")
        judge = self._judges.get(form)
        if judge is None:
            raise NotAuthenticated("no proof that is taken here")
        proven = judge.judge(primary, secondary)
        if not 0 < len(proven.user) <= USER_CHARS_MAX or not proven.user.isprintable():
            raise NotAuthenticated("a user without a name")
        roles = roles_of(self._table, form, proven)
        if not roles:
            raise NotAuthenticated(f"a proven user without a role ({IdentityKind(kind).name})")
        return proven, roles


class PasscodeJudge:
    """User names with passcodes, by a file of salted hashes that is read at every proof.

    Args:
        path: Lines `user:salt:hash`, salt and hash in hex.

    Raises:
        ConfigError: The file cannot be read, or others can read it too.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._dummy = (secrets.token_bytes(SALT_BYTES), secrets.token_bytes(32))
        self._read()

    def judge(self, primary: bytes, secondary: bytes) -> Proven:
        """Return the user of a passcode; costs the same for a user who does not exist.

        Raises:
            NotAuthenticated: No such user, or another passcode.
        """
        try:
            user = primary.decode()
        except UnicodeDecodeError as error:
            raise NotAuthenticated("a user name that is no text") from error
        salt, expected = self._read().get(user, self._dummy)
        if not hmac.compare_digest(_hash(secondary, salt), expected):
            raise NotAuthenticated("no such user, or another passcode")
        return Proven(user)

    def _read(self) -> dict[str, tuple[bytes, bytes]]:
        try:
            with self._path.open("rb") as file:
                text = file.read(PASSCODE_FILE_BYTES_MAX).decode()
            if self._path.stat().st_mode & 0o077:
                raise ConfigError(f"{self._path}: readable by others", hint="chmod 600")
            rows = [line.split(":") for line in text.splitlines() if line.strip()]
            return {user: (bytes.fromhex(salt), bytes.fromhex(key)) for user, salt, key in rows}
        except OSError as error:
            raise ConfigError(f"{self._path}: {error.strerror}") from error
        except ValueError as error:
            raise ConfigError(f"{self._path}: a line is not user:salt:hash") from error


def passcode_line(user: str, passcode: str, *, salt: bytes) -> str:
    """Return the line of a user for the passcode file.

    Raises:
        ConfigError: A name with a colon, or a passcode of fewer than 8 characters.
    """
    if not user.isprintable() or ":" in user or not 0 < len(user) <= USER_CHARS_MAX:
        raise ConfigError("a user name has printable characters and no colon")
    if len(passcode) < PASSCODE_CHARS_MIN:
        raise ConfigError(f"a passcode has {PASSCODE_CHARS_MIN} characters or more")
    return f"{user}:{salt.hex()}:{_hash(passcode.encode(), salt).hex()}"


def _hash(passcode: bytes, salt: bytes) -> bytes:
    return hashlib.scrypt(
        passcode,
        salt=salt,
        n=_SCRYPT_N,
        r=_SCRYPT_R,
        p=1,
        maxmem=_SCRYPT_MEMORY_BYTES_MAX,
        dklen=32,
    )


class JwtJudge:
    """JSON Web Tokens of one issuer, one key and one algorithm.

    Args:
        settings: The section.
        skew_s: Difference of clocks that is forgiven, seconds.

    Raises:
        ConfigError: The key cannot be read.
    """

    def __init__(self, settings: JwtSettings, *, skew_s: float) -> None:
        self._settings = settings
        self._skew_s = skew_s
        try:
            self._key = Path(settings.key_file).read_text("ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{settings.key_file}: cannot be read") from error
        if "PUBLIC KEY" not in self._key and "CERTIFICATE" not in self._key:
            raise ConfigError(f"{settings.key_file}: not the PEM of a public key")

    def judge(self, primary: bytes, secondary: bytes) -> Proven:  # noqa: ARG002 - no second field
        """Return the subject of a token.

        Raises:
            NotAuthenticated: Another key, algorithm, issuer or audience, or outside its time.
        """
        settings = self._settings
        try:
            claims = jwt.decode(
                primary,
                self._key,
                algorithms=[settings.algorithm],
                audience=settings.audience,
                issuer=settings.issuer,
                leeway=self._skew_s,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError) as error:
            raise NotAuthenticated(f"token: {type(error).__name__}") from error
        found: object = claims.get(settings.role_claim) if settings.role_claim else None
        values = cast("list[object]", found) if isinstance(found, list) else [found]
        names = frozenset(value for value in values[:CLAIMS_MAX] if isinstance(value, str))
        return Proven(str(claims["sub"]), names)
