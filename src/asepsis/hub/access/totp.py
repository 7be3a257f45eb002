"""One-time codes of an authenticator: a time step, a shared secret, six digits. Pure.

Source: RFC 6238 (TOTP) with the values that authenticators agree on (HMAC-SHA-1, 30 s, 6 digits);
RFC 4226 section 5.3; RFC 4648 section 6.
"""

import base64
import hmac
import struct
from typing import Final
from urllib.parse import quote

from asepsis.core.errors import NotAuthenticated

SECRET_BYTES: Final = 20
"""RFC 4226 section 4 recommends 160 bits."""
STEP_S: Final = 30
DIGITS: Final = 6
DRIFT_STEPS: Final = 1
"""Steps that an authenticator's clock may be off, each way (RFC 6238 section 5.2)."""
GIVEN_CHARS_MAX: Final = 16
_NS: Final = 1_000_000_000


def code(secret: bytes, step: int) -> str:
    """Return the code of a time step.

    Args:
        secret: Shared secret.
        step: Number of the step since 1970, at least 0.
    """
    digest = hmac.digest(secret, struct.pack(">Q", step), "sha1")
    offset = digest[-1] & 0x0F
    (word,) = struct.unpack_from(">I", digest, offset)
    return f"{(word & 0x7FFF_FFFF) % 10**DIGITS:0{DIGITS}d}"


def accept(secret: bytes, given: str, *, now_ns: int, after: int) -> int:
    """Return the step whose code was given; the caller stores it, so that it counts once.

    Args:
        secret: Shared secret.
        given: What was typed; spaces in it do not matter.
        now_ns: Wall time, nanoseconds since 1970.
        after: The last step that was accepted; it and what came before it is used up.

    Raises:
        NotAuthenticated: Not a code of now, or one that was used.
    """
    typed = given[:GIVEN_CHARS_MAX].replace(" ", "").encode()
    present, found = now_ns // _NS // STEP_S, -1
    for step in range(max(0, present - DRIFT_STEPS), present + DRIFT_STEPS + 1):
        # Every step is compared: how long it takes tells nothing.
        if hmac.compare_digest(code(secret, step).encode(), typed):
            found = step
    if found <= after:
        raise NotAuthenticated("the code is wrong or used", hint="wait for the next one")
    return found


def spell(secret: bytes) -> str:
    """Return a secret as people type it: base32 in groups of four."""
    text = base64.b32encode(secret).decode()
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))


def uri(secret: bytes, *, person: str, issuer: str) -> str:
    """Return what authenticators read.

    Source: the Key URI format that authenticators share (`otpauth://totp/`).
    """
    label = f"{quote(issuer, safe='')}:{quote(person, safe='')}"
    plain = base64.b32encode(secret).decode().rstrip("=")
    return (
        f"otpauth://totp/{label}?secret={plain}&issuer={quote(issuer, safe='')}"
        f"&algorithm=SHA1&digits={DIGITS}&period={STEP_S}"
    )
