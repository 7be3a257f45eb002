"""Protocol data units of the DICOM upper layer: bytes in, values out. No socket, clock or log.

Only what a peer may send is checked here; who may send it is `policy.py`'s business.

Source: DICOM PS3.8 section 9.3 and annex D; PS3.7 annex D.3.3 (user information).
"""

import re
import struct
from collections.abc import Iterator, Sequence
from typing import Final

from asepsis.core.errors import FramingError, LimitExceeded
from asepsis.edge.gateway.imaging.pdu_values import (
    AnsweredContext,
    AssociateAccept,
    AssociateRequest,
    PduType,
    Pdv,
    ProposedContext,
    Rejection,
    RoleSelection,
    UserIdentity,
)

HEAD_BYTES: Final = 6
ASSOCIATE_BYTES_MAX: Final = 262_144
"""Largest A-ASSOCIATE-RQ or -AC: 128 contexts, and an identity of 64 KiB."""
CONTEXTS_MAX: Final = 128
TRANSFER_SYNTAXES_MAX: Final = 64
"""Transfer syntaxes of one presentation context."""
UID_CHARS_MAX: Final = 64
AE_TITLE_CHARS_MAX: Final = 16
IDENTITY_BYTES_MAX: Final = 65_535
APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
IMPLEMENTATION_UID: Final = "2.25.196914413583241853284523417094237213571"
"""Derived from a random UUID, as PS3.5 annex B.2 allows."""
IMPLEMENTATION_VERSION: Final = "ASEPSIS_1"
_VERSION: Final = 1
_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)*")
_AE_TITLE: Final = re.compile(r"[ -\[\]-~]+")
_HEAD: Final = struct.Struct(">BxI")
_ITEM: Final = struct.Struct(">BxH")
_ASSOCIATE: Final = struct.Struct(">H2x16s16s32x")
_PDV: Final = struct.Struct(">IBB")
PDV_HEAD_BYTES: Final = _PDV.size


def read_head(head: bytes, *, data_bytes_max: int) -> tuple[PduType, int]:
    """Return type and body length of a PDU.

    Args:
        head: Its first 6 bytes.
        data_bytes_max: Longest P-DATA-TF body that was announced to the peer.

    Raises:
        FramingError: No PDU of DICOM.
        LimitExceeded: A body longer than it may be.
    """
    number, length = _HEAD.unpack(head)
    try:
        kind = PduType(number)
    except ValueError:
        raise FramingError(f"a PDU of type {number:#04x}") from None
    if kind in (PduType.ASSOCIATE_RQ, PduType.ASSOCIATE_AC):
        longest = ASSOCIATE_BYTES_MAX
    else:
        longest = data_bytes_max if kind is PduType.DATA else 4
    if length > longest:
        raise LimitExceeded(f"a PDU of {length} bytes, at most {longest} are taken")
    return kind, length


def read_pdvs(body: bytes | memoryview) -> Iterator[Pdv]:
    """Return the presentation data values of a P-DATA-TF body.

    Raises:
        FramingError: Lengths that do not add up, or control bits that do not exist.
    """
    view = memoryview(body)
    while view:
        if len(view) < _PDV.size:
            raise FramingError("a presentation data value is cut short")
        length, context, control = _PDV.unpack_from(view)
        end = 4 + length
        if length < 2 or end > len(view) or control > 3:
            raise FramingError("a presentation data value lies about its length")
        yield Pdv(context, bool(control & 1), bool(control & 2), view[_PDV.size : end])
        view = view[end:]


def decode_request(body: bytes) -> AssociateRequest:
    """Read an A-ASSOCIATE-RQ body.

    Raises:
        FramingError: It is none.
        LimitExceeded: More contexts or transfer syntaxes than a peer may propose.
    """
    called, calling, items = _split(body)
    contexts: list[ProposedContext] = []
    information: dict[int, bytes] = {}
    roles: tuple[RoleSelection, ...] = ()
    for kind, data in items:
        if kind == 0x20:
            contexts.append(_proposed(data))
        elif kind == 0x50:
            information, roles = dict(_items(data)), _roles(data)
    if not contexts or len({context.number for context in contexts}) != len(contexts):
        raise FramingError("no presentation context, or two of one number")
    if len(contexts) > CONTEXTS_MAX:
        raise LimitExceeded(f"{len(contexts)} presentation contexts")
    identity = information.get(0x58)
    return AssociateRequest(
        called=ae_title(called),
        calling=ae_title(calling),
        contexts=tuple(contexts),
        pdu_bytes_max=_maximum(information),
        identity=None if identity is None else _identity(identity),
        roles=roles,
    )


def encode_request(request: AssociateRequest) -> bytes:
    """Return an A-ASSOCIATE-RQ."""
    contexts = b"".join(
        _item(
            0x20,
            bytes((context.number, 0, 0, 0))
            + _item(0x30, context.abstract_syntax.encode())
            + b"".join(_item(0x40, uid.encode()) for uid in context.transfer_syntaxes),
        )
        for context in request.contexts
    )
    identity = b""
    if request.identity is not None:
        user = request.identity
        identity = _item(
            0x58,
            bytes((user.kind, user.answer_wanted))
            + struct.pack(">H", len(user.primary))
            + user.primary
            + struct.pack(">H", len(user.secondary))
            + user.secondary,
        )
    return _associate(
        PduType.ASSOCIATE_RQ,
        (request.called, request.calling),
        contexts + _information(request.pdu_bytes_max, identity + _role_items(request.roles)),
    )


def decode_accept(body: bytes) -> AssociateAccept:
    """Read an A-ASSOCIATE-AC body.

    Raises:
        FramingError: It is none.
    """
    _, _, items = _split(body)
    contexts: list[AnsweredContext] = []
    information: dict[int, bytes] = {}
    roles: tuple[RoleSelection, ...] = ()
    for kind, data in items:
        if kind == 0x21:
            if len(data) < 4:
                raise FramingError("a presentation context is cut short")
            syntax = dict(_items(data[4:])).get(0x40, b"")
            contexts.append(AnsweredContext(data[0], data[2], uid_of(syntax) if syntax else ""))
        elif kind == 0x50:
            information, roles = dict(_items(data)), _roles(data)
    answer = information.get(0x59)
    return AssociateAccept(
        contexts=tuple(contexts),
        pdu_bytes_max=_maximum(information),
        identity_answer=None if answer is None else answer[2:],
        roles=roles,
    )


def encode_accept(accept: AssociateAccept, *, request: AssociateRequest) -> bytes:
    """Return the A-ASSOCIATE-AC that answers a request."""
    contexts = b"".join(
        _item(
            0x21,
            bytes((context.number, 0, context.result, 0))
            + _item(0x40, context.transfer_syntax.encode()),
        )
        for context in accept.contexts
    )
    answer = accept.identity_answer
    identity = b"" if answer is None else _item(0x59, struct.pack(">H", len(answer)) + answer)
    return _associate(
        PduType.ASSOCIATE_AC,
        (request.called, request.calling),
        contexts + _information(accept.pdu_bytes_max, identity + _role_items(accept.roles)),
    )


def encode_rejection(rejection: Rejection) -> bytes:
    """Return an A-ASSOCIATE-RJ."""
    body = bytes((0, rejection.result, rejection.source, rejection.reason))
    return _HEAD.pack(PduType.ASSOCIATE_RJ, 4) + body


def decode_rejection(body: bytes) -> Rejection:
    """Read an A-ASSOCIATE-RJ body.

    Raises:
        FramingError: It is none.
    """
    if len(body) != 4:
        raise FramingError("a rejection is cut short")
    return Rejection(body[1], body[2], body[3])


def encode_abort(*, by_user: bool = False, reason: int = 0) -> bytes:
    """Return an A-ABORT, PS3.8 table 9-26."""
    return _HEAD.pack(PduType.ABORT, 4) + bytes((0, 0, 0 if by_user else 2, reason))


RELEASE_RQ: Final = _HEAD.pack(PduType.RELEASE_RQ, 4) + bytes(4)
RELEASE_RP: Final = _HEAD.pack(PduType.RELEASE_RP, 4) + bytes(4)


def data_head(context: int, length: int, *, command: bool, last: bool) -> bytes:
    """Return the head of a P-DATA-TF of one value.

    Args:
        context: Presentation context.
        length: Bytes of the fragment, which follows the head on the wire.
        command: Command, or else data set.
        last: Whether it is the last fragment.
    """
    head = _HEAD.pack(PduType.DATA, length + PDV_HEAD_BYTES)
    return head + _PDV.pack(length + 2, context, command + 2 * last)


def ae_title(field: bytes) -> str:
    """Return an AE title without its padding.

    Raises:
        FramingError: Empty, or not of the characters that PS3.5 allows.
    """
    text = field.decode("latin-1").strip(" \0")
    if not _AE_TITLE.fullmatch(text) or len(text) > AE_TITLE_CHARS_MAX:
        raise FramingError("an AE title of other characters than DICOM's")
    return text


def uid_of(field: bytes) -> str:
    """Return a UID without its padding.

    Raises:
        FramingError: Not a UID.
    """
    text = field.decode("latin-1").rstrip("\0 ")
    if len(text) > UID_CHARS_MAX or not _UID.fullmatch(text):
        raise FramingError("not a UID")
    return text


def _split(body: bytes) -> tuple[bytes, bytes, Sequence[tuple[int, bytes]]]:
    if len(body) < _ASSOCIATE.size:
        raise FramingError("an association request is cut short")
    version, called, calling = _ASSOCIATE.unpack_from(body)
    if not version & _VERSION:
        raise FramingError(f"protocol version {version:#06x}")
    return called, calling, _items(body[_ASSOCIATE.size :])


def _items(data: bytes) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(data):
        if at + _ITEM.size > len(data):
            raise FramingError("an item is cut short")
        kind, length = _ITEM.unpack_from(data, at)
        at += _ITEM.size
        if at + length > len(data):
            raise FramingError("an item lies about its length")
        found.append((kind, data[at : at + length]))
        at += length
    return found


def _item(kind: int, data: bytes) -> bytes:
    return _ITEM.pack(kind, len(data)) + data


def _proposed(data: bytes) -> ProposedContext:
    if len(data) < 4 or not data[0] & 1:
        raise FramingError("a presentation context without an odd number")
    items = _items(data[4:])
    abstract = [value for kind, value in items if kind == 0x30]
    syntaxes = [uid_of(value) for kind, value in items if kind == 0x40]
    if len(abstract) != 1 or not syntaxes:
        raise FramingError("a presentation context without its syntaxes")
    if len(syntaxes) > TRANSFER_SYNTAXES_MAX:
        raise LimitExceeded(f"{len(syntaxes)} transfer syntaxes")
    return ProposedContext(data[0], uid_of(abstract[0]), tuple(syntaxes))


def _identity(data: bytes) -> UserIdentity:
    if len(data) < 6:
        raise FramingError("a user identity is cut short")
    kind, wanted, length = struct.unpack_from(">BBH", data)
    at = 4 + length
    if at + 2 > len(data):
        raise FramingError("a user identity lies about its length")
    (second,) = struct.unpack_from(">H", data, at)
    if at + 2 + second > len(data):
        raise FramingError("a user identity lies about its length")
    return UserIdentity(kind, bool(wanted), data[4:at], data[at + 2 : at + 2 + second])


def _roles(information: bytes) -> tuple[RoleSelection, ...]:
    found: list[RoleSelection] = []
    for kind, data in _items(information):
        if kind != 0x54:
            continue
        length = int.from_bytes(data[:2], "big")
        if len(data) != length + 4:
            raise FramingError("a role selection lies about its length")
        found.append(RoleSelection(uid_of(data[2:-2]), bool(data[-2]), bool(data[-1])))
    return tuple(found)


def _role_items(roles: Sequence[RoleSelection]) -> bytes:
    return b"".join(
        _item(
            0x54,
            struct.pack(">H", len(role.sop_class))
            + role.sop_class.encode()
            + bytes((role.user, role.provider)),
        )
        for role in roles
    )


def _maximum(information: dict[int, bytes]) -> int:
    field = information.get(0x51, b"")
    return int.from_bytes(field, "big") if len(field) == 4 else 0


def _information(pdu_bytes_max: int, more: bytes) -> bytes:
    return _item(
        0x50,
        _item(0x51, struct.pack(">I", pdu_bytes_max))
        + _item(0x52, IMPLEMENTATION_UID.encode())
        + _item(0x55, IMPLEMENTATION_VERSION.encode())
        + more,
    )


def _associate(kind: PduType, titles: tuple[str, str], items: bytes) -> bytes:
    called, calling = (title.encode("latin-1").ljust(AE_TITLE_CHARS_MAX) for title in titles)
    body = _ASSOCIATE.pack(_VERSION, called, calling)
    body += _item(0x10, APPLICATION_CONTEXT.encode()) + items
    return _HEAD.pack(kind, len(body)) + body
