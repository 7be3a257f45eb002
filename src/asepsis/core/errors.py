"""Every deliberate error of Asepsis, one first-level class per reaction of the caller.

The five first-level classes answer one question: what should the caller do now? `code` is stable,
documented in `docs/reference/errors/` and searchable; `hint` says what to do next. One table per
protocol maps the classes to its own words (HTTP status, HL7 MSA-1, exit code).
"""

from typing import ClassVar


class AsepsisError(Exception):
    """Base of every deliberate error.

    Args:
        message: What is wrong, in one sentence without patient data or secrets.
        hint: What the reader can do next; may be empty.
    """

    code: ClassVar[str] = "ASP-000"
    retry: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class InputError(AsepsisError):
    """The peer sent something malformed: refuse it, keep serving."""

    code = "ASP-100"


class FramingError(InputError):
    """Bytes that do not follow the framing of their protocol; the stream cannot go on."""

    code = "ASP-101"


class LimitExceeded(InputError):  # noqa: N818 - the field says "limit exceeded"
    """Something from outside is larger, deeper, longer or more frequent than its limit."""

    code = "ASP-102"


class UnsupportedMedia(InputError):  # noqa: N818 - HTTP's own words
    """A media type, character set or version that this interface does not take."""

    code = "ASP-103"


class ContentMismatch(InputError):  # noqa: N818 - names the finding
    """Well-formed content that contradicts itself, its sender's record or its signed twin."""

    code = "ASP-104"


class NotFound(InputError):  # noqa: N818 - HTTP's own words
    """The named thing does not exist, or the caller may not know that it does."""

    code = "ASP-105"


class Conflict(InputError):  # noqa: N818 - HTTP's own words
    """The request contradicts the present state, for example a name that is taken."""

    code = "ASP-106"


class TrustError(AsepsisError):
    """Signature, certificate, expiry or permission: refuse, audit, never fall back."""

    code = "ASP-200"


class IdentityInvalid(TrustError):  # noqa: N818 - names the finding
    """A certificate whose name, extended key usage, chain or form is not what is required."""

    code = "ASP-201"


class IdentityRevoked(TrustError):  # noqa: N818 - names the finding
    """The identity is revoked; every serial, renewal and token of it is refused."""

    code = "ASP-202"


class IdentityExpired(TrustError):  # noqa: N818 - names the finding
    """The certificate is outside its validity; renew it on the enrolment listener."""

    code = "ASP-203"


class SignatureInvalid(TrustError):  # noqa: N818 - names the finding
    """A signature or authentication tag does not verify."""

    code = "ASP-204"


class ChainBroken(TrustError):  # noqa: N818 - names the finding
    """A fork: two different records claim one sequence, or a previous hash does not match."""

    code = "ASP-205"


class NotPermitted(TrustError):  # noqa: N818 - names the finding
    """The principal is known and may not do this."""

    code = "ASP-206"


class IssuanceRefused(TrustError):  # noqa: N818 - names the finding
    """The signer refuses a typed request: profile, name, key or rate."""

    code = "ASP-207"


class NotAuthenticated(TrustError):  # noqa: N818 - names the finding
    """No credential, or none that this listener takes."""

    code = "ASP-208"


class SafetyRefusal(AsepsisError):  # noqa: N818 - names the reaction
    """Right request, wrong clinical moment, or a self-test failed: ask again later."""

    code = "ASP-300"
    retry = True


class TransientError(AsepsisError):
    """Network, peer or disk: nothing changed, back off and try again.

    Args:
        message: What is wrong.
        hint: What the reader can do next.
        retry_after_s: Seconds after which a new attempt makes sense; at least 1.
    """

    code = "ASP-400"
    retry = True

    def __init__(self, message: str, *, hint: str = "", retry_after_s: int = 1) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class BackPressure(TransientError):  # noqa: N818 - names the finding
    """A lane, spool or disk is at its watermark; nothing was stored."""

    code = "ASP-401"


class RateLimited(TransientError):  # noqa: N818 - names the finding
    """The peer sends more often than it may; nothing was stored."""

    code = "ASP-402"


class Unavailable(TransientError):  # noqa: N818 - names the finding
    """A part that is needed, such as the signer or the hub, does not answer."""

    code = "ASP-403"


class ConfigError(AsepsisError):
    """An operator's mistake; raised at start only, naming file and key."""

    code = "ASP-500"
