"""What the PDUs of the DICOM upper layer say, as values (PS3.8 section 9.3); `pdu` reads bytes."""

from dataclasses import dataclass
from enum import IntEnum


class PduType(IntEnum):
    """First byte of a protocol data unit."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    DATA = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


class IdentityKind(IntEnum):
    """User-Identity-Type of PS3.7 D.3.3.7.1."""

    USER_NAME = 1
    PASSCODE = 2
    KERBEROS = 3
    SAML = 4
    JWT = 5


class ContextResult(IntEnum):
    """Result of a presentation context, PS3.8 table 9-18."""

    ACCEPTED = 0
    USER_REJECTED = 1
    NO_REASON = 2
    ABSTRACT_SYNTAX = 3
    TRANSFER_SYNTAXES = 4


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """Who a peer says its user is.

    Attributes:
        kind: Form of the proof.
        answer_wanted: Whether the peer asks for a positive response.
        primary: User name, ticket, assertion or token.
        secondary: Passcode, else empty.
    """

    kind: int
    answer_wanted: bool
    primary: bytes
    secondary: bytes = b""


@dataclass(frozen=True, slots=True)
class ProposedContext:
    """One presentation context that a peer proposes.

    Attributes:
        number: Odd, 1 to 255.
        abstract_syntax: UID of the SOP class.
        transfer_syntaxes: UIDs in the peer's order.
    """

    number: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AnsweredContext:
    """One presentation context as the acceptor answers it.

    Attributes:
        number: As proposed.
        result: A `ContextResult`.
        transfer_syntax: The one chosen; without meaning unless accepted.
    """

    number: int
    result: int
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class RoleSelection:
    """Which roles the requestor of an association takes for a SOP class, PS3.7 D.3.3.4.

    Attributes:
        sop_class: UID.
        user: Whether it is service class user.
        provider: Whether it is service class provider: it takes what it asks for by C-GET.
    """

    sop_class: str
    user: bool
    provider: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociateRequest:
    """A-ASSOCIATE-RQ.

    Attributes:
        called: AE title asked for.
        calling: AE title of the peer.
        contexts: Proposed contexts.
        pdu_bytes_max: Longest P-DATA-TF body that the peer takes; 0 for no limit.
        identity: Who its user is, if it says so.
        roles: Roles that differ from the usual one of a requestor, user.
    """

    called: str
    calling: str
    contexts: tuple[ProposedContext, ...]
    pdu_bytes_max: int = 0
    identity: UserIdentity | None = None
    roles: tuple[RoleSelection, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociateAccept:
    """A-ASSOCIATE-AC.

    Attributes:
        contexts: Answers to all proposed contexts.
        pdu_bytes_max: Longest P-DATA-TF body that the acceptor takes; 0 for no limit.
        identity_answer: Server response of the user identity; None where none is given.
        roles: Those of the request as far as they are accepted.
    """

    contexts: tuple[AnsweredContext, ...]
    pdu_bytes_max: int
    identity_answer: bytes | None = None
    roles: tuple[RoleSelection, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejection:
    """A-ASSOCIATE-RJ, PS3.8 table 9-21.

    Attributes:
        result: 1 permanent, 2 transient.
        source: 1 service user, 2 provider (ACSE), 3 provider (presentation).
        reason: By source.
    """

    result: int
    source: int
    reason: int


@dataclass(frozen=True, slots=True)
class Pdv:
    """A presentation data value.

    Attributes:
        context: Number of the presentation context.
        is_command: Command, or else data set.
        is_last: Last fragment of it.
        data: The fragment; a view into the PDU.
    """

    context: int
    is_command: bool
    is_last: bool
    data: memoryview
