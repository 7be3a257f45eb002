"""Requests for signed statements: time, tree heads, revocation lists."""

from typing import Final

from asepsis.core import errors
from asepsis.core.trust import answers
from asepsis.core.trust import requests as typed
from asepsis.core.trust.authority import Revoked, sign_crl
from asepsis.core.trust.identity import Profile
from asepsis.core.trust.statements import time_statement, tree_head_statement
from asepsis.hub.signer import entries
from asepsis.hub.signer.desk import Desk
from asepsis.hub.signer.issuing import Case
from asepsis.hub.signer.keystore import Role
from asepsis.hub.signer.rates import HOUR_NS, MINUTE_NS

TIME_LEASE: Final = 6_000
"""Time statements that one log entry allows; a ward of 1,000 devices asks a few times an hour."""


def sign_time(desk: Desk, request: typed.TimeRequest, case: Case) -> answers.SignedTime:
    """Sign the present time; a log entry allows a minute's worth ahead."""
    del case
    certificate_der = desk.own_certificate(Profile.TIME, Role.TIME)
    state, now_ns = desk.state, desk.now_ns
    if now_ns >= state.time_until_ns or state.time_left == 0:
        desk.append(entries.TimeAllowed(count=TIME_LEASE, until_ns=now_ns + MINUTE_NS))
    state.time_left -= 1
    statement = time_statement(
        nonce=request.nonce,
        wall_ns=now_ns,
        uncertainty_ms=desk.setting.time_uncertainty_ms,
    )
    return answers.SignedTime(
        statement=statement,
        signature=desk.sign(Role.TIME, statement),
        chain_der=(certificate_der, state.issuing_der, state.root_der),
    )


def sign_tree_head(desk: Desk, request: typed.TreeHeadRequest, case: Case) -> answers.Signature:
    """Sign a tree head; the audit log may grow and never shrink or change."""
    del case
    head = request.head
    if desk.state.head is not None:
        size, root = desk.state.head
        if head.size < size or (head.size == size and head.root != root):
            raise errors.Conflict(
                "the audit log shrank or changed", hint="restored? `forget_tree_head`"
            )
    if desk.state.head != (head.size, head.root):
        desk.append(entries.HeadSigned(size=head.size, root=head.root))
    statement = tree_head_statement(size=head.size, root=head.root, timestamp_ns=head.timestamp_ns)
    return answers.Signature(signature=desk.sign(Role.AUDIT, statement))


def sign_list(desk: Desk, request: typed.CrlRequest, case: Case) -> answers.Crl:
    """Sign a revocation list for consumers outside."""
    del request, case
    state, now_ns = desk.state, desk.now_ns
    desk.append(entries.CrlSigned(number=state.crl_number + 1))
    listed = [
        Revoked(serial, at_ns)
        for serial, (at_ns, _, ends_ns) in state.revoked_serials.items()
        if ends_ns > now_ns - HOUR_NS  # RFC 5280 section 3.3: expired ones may leave the list
    ]
    crl = sign_crl(listed, issuer=desk.issuer(), number=state.crl_number, now_ns=now_ns)
    return answers.Crl(crl_der=crl)
