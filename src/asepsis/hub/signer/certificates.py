"""Requests for certificates: decide, check the rate, certify, answer."""

from typing import cast

from asepsis.core import errors
from asepsis.core.trust import answers
from asepsis.core.trust import requests as typed
from asepsis.core.trust.authority import read_csr
from asepsis.core.trust.identity import Profile
from asepsis.hub.signer import entries
from asepsis.hub.signer.desk import Desk
from asepsis.hub.signer.issuing import Case, WrongSecret, decide
from asepsis.hub.signer.state import OWN_PROOF, Certificate


def issue(desk: Desk, request: typed.IssueRequest, case: Case) -> answers.Issued:
    """Issue a certificate to whom a person listed, or renew one."""
    now_ns = desk.now_ns
    try:
        decision = decide(request, state=desk.state, now_ns=now_ns, case=case)
    except WrongSecret:
        desk.append(entries.TokenFailed(id=cast("typed.TokenProof", request.proof).id))
        raise
    right = decision.right
    if decision.again is not None:
        return _issued(desk, decision.again.der, name=right.name, again=decision.again)
    desk.check_rate(right.name, new=right.new)
    certificate_der = desk.certify(
        decision.csr.public_key,
        profile=decision.profile,
        name=right.name,
        proof=right.proof,
        expectation_id=right.listing.expectation.id,
        superseded=decision.superseded,
    )
    return _issued(
        desk, certificate_der, name=right.name, again=None, superseded=decision.superseded
    )


def issue_server(desk: Desk, request: typed.ServerCertificateRequest, case: Case) -> answers.Issued:
    """Issue the hub's own certificate for host names fixed at init."""
    state = desk.state
    case.name = state.server_uri
    if not set(request.names) <= set(state.server_names):
        raise errors.IssuanceRefused(
            "a host name that was not fixed at init", hint="host names are fixed at init"
        )
    csr = read_csr(
        request.csr_der, name=state.server_uri, profile=Profile.SERVER, hosts=request.names
    )
    if csr.spki_sha256 in state.owners:
        raise errors.IssuanceRefused("this key belongs to another name or purpose")
    desk.check_rate(state.server_uri, new=True)
    der = desk.certify(
        csr.public_key,
        profile=Profile.SERVER,
        name=state.server_uri,
        proof=OWN_PROOF,
        hosts=tuple(request.names),
    )
    return _issued(desk, der, name=state.server_uri, again=None)


def _issued(
    desk: Desk,
    certificate_der: bytes,
    *,
    name: str,
    again: Certificate | None,
    superseded: tuple[bytes, ...] = (),
) -> answers.Issued:
    return answers.Issued(
        chain_der=(certificate_der, desk.state.issuing_der, desk.state.root_der),
        expectation=desk.state.expectation_of(name),
        superseded=again.superseded if again else superseded,
        again=again is not None,
    )
