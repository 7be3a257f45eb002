"""Requests about names and makers, most of them from the operator's socket."""

import base64
import hashlib

from asepsis.core import errors
from asepsis.core.trust import answers
from asepsis.core.trust import requests as typed
from asepsis.hub.signer import entries
from asepsis.hub.signer.desk import Desk
from asepsis.hub.signer.issuing import Case
from asepsis.hub.signer.listing import list_expected, list_maker


def revoke(desk: Desk, request: typed.RevokeRequest, case: Case) -> answers.Done:
    """End an identity; asking again is no error."""
    case.name = request.name
    state = desk.state
    serials = state.live_serials(request.name)
    known = serials or any(one.expectation.name == request.name for one in state.listings.values())
    if request.name == state.server_uri or not known:
        raise errors.NotFound("no such identity")
    if request.name not in state.revoked_names:
        desk.append(entries.Ended(name=request.name, reason=request.reason))
    return answers.Done(serials=tuple(serial.to_bytes(20, "big") for serial in serials))


def release(desk: Desk, request: typed.ReleaseRequest, case: Case) -> answers.Done:
    """Let a revoked name be listed again."""
    case.name = request.name
    if request.name not in desk.state.revoked_names:
        raise errors.NotFound("this identity is not revoked")
    desk.append(entries.Released(name=request.name))
    return answers.Done()


def expect(desk: Desk, request: typed.ExpectRequest, case: Case) -> answers.Token:
    """List somebody and hand the token out, once."""
    case.name = request.expectation.name
    secret = base64.urlsafe_b64encode(desk.random_bytes(32)).rstrip(b"=").decode()
    batch, expectation = list_expected(
        request, state=desk.state, now_ns=desk.now_ns, secret=secret, id_=desk.random_bytes(8).hex()
    )
    desk.append(*batch)
    pin = hashlib.sha256(desk.state.root_der).hexdigest()
    return answers.Token(token=f"{expectation.id}.{secret}.{pin}", expectation=expectation)


def withdraw(desk: Desk, request: typed.WithdrawRequest, case: Case) -> answers.Done:
    """Close an open listing."""
    del case
    listing = desk.state.listings.get(request.id)
    if listing is None or listing.closed:
        raise errors.NotFound("no open expectation has this id")
    desk.append(entries.Withdrawn(id=request.id, why="by a person"))
    return answers.Done()


def list_open(desk: Desk, request: typed.ListRequest, case: Case) -> answers.Expected:
    """Say who is expected."""
    del request, case
    open_now = desk.state.open_listings(desk.now_ns)
    return answers.Expected(expectations=tuple(one.expectation for one in open_now))


def trust_maker(desk: Desk, request: typed.TrustMakerRequest, case: Case) -> answers.Done:
    """Trust a maker's CA for IDevIDs."""
    del case
    desk.append(list_maker(request, state=desk.state))
    return answers.Done()


def distrust_maker(desk: Desk, request: typed.DistrustMakerRequest, case: Case) -> answers.Done:
    """Stop trusting a maker's CA."""
    del case
    if request.fingerprint not in desk.state.makers:
        raise errors.NotFound("this maker is not trusted")
    desk.append(entries.MakerDistrusted(fingerprint=request.fingerprint))
    return answers.Done()


def set_limits(desk: Desk, request: typed.LimitsRequest, case: Case) -> answers.Done:
    """Change the rates."""
    del case
    desk.append(entries.LimitsSet(limits=request.limits))
    return answers.Done()


def forget_head(desk: Desk, request: typed.ForgetTreeHeadRequest, case: Case) -> answers.Done:
    """Accept an older audit log again."""
    del case
    desk.append(
        entries.HeadForgotten(reason=request.reason),
        entries.Alarmed(code="audit-log-restored", text="a person accepted an older audit log"),
    )
    return answers.Done()
