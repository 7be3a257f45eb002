"""The one-time enrolment token `id.secret.pin` (REQ-ID-007). Pure."""

import base64
import re
from dataclasses import dataclass, field
from typing import Final

from asepsis.core.errors import InputError

TOKEN_CHARS_MAX: Final = 300
_TOKEN: Final = re.compile(r"([A-Za-z0-9_-]{1,64})\.([A-Za-z0-9_-]{16,128})\.([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class EnrolmentToken:
    """What a person hands to a device so that it can enrol once.

    Attributes:
        id: Public part, names the expectation at the hub.
        secret: Sent only to a hub whose root matches `pin`; never logged.
        pin: SHA-256 of the hospital root certificate's DER, 64 lower-case hex digits.
    """

    id: str
    secret: str = field(repr=False)
    pin: str

    @classmethod
    def parse(cls, text: str) -> "EnrolmentToken":
        """Read a token as it is printed.

        Raises:
            InputError: Not of the form `id.secret.pin`; the text is not repeated in the error.
        """
        match = _TOKEN.fullmatch(text.strip()) if len(text) <= TOKEN_CHARS_MAX else None
        if not match:
            raise InputError(
                "not an enrolment token",
                hint="copy the whole line that `asepsis enrol expect` printed",
            )
        return cls(match[1], match[2], match[3])

    def basic_credentials(self) -> str:
        """Return the value of the Authorization header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.id}:{self.secret}".encode()).decode()
