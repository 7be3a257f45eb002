"""Requests that only ask: certificates, status, alarms."""

from typing import Final

from asepsis.core.trust import answers
from asepsis.core.trust import requests as typed
from asepsis.core.trust.identity import Profile, load_certificate, not_after_ns
from asepsis.hub.signer.desk import Desk
from asepsis.hub.signer.directing import public_key
from asepsis.hub.signer.issuing import Case
from asepsis.hub.signer.keystore import Role

ALARMS_PER_ANSWER: Final = 100


def authorities(desk: Desk, request: typed.AuthoritiesRequest, case: Case) -> answers.Authorities:
    """Return the public certificates."""
    del request, case
    return answers.Authorities(
        chain_der=(desk.state.issuing_der, desk.state.root_der),
        makers_der=tuple(desk.state.makers.values()),
        audit_der=desk.own_certificate(Profile.AUDIT, Role.AUDIT),
        time_der=desk.own_certificate(Profile.TIME, Role.TIME),
        director_der=public_key(desk),
    )


def alarms(desk: Desk, request: typed.AlarmsRequest, case: Case) -> answers.Alarms:
    """Return newer alarms."""
    del case
    newer = [one for one in desk.state.alarms if one.number > request.after]
    return answers.Alarms(alarms=tuple(newer[:ALARMS_PER_ANSWER]))


def status(desk: Desk, request: typed.StatusRequest, case: Case) -> answers.Status:
    """Say how the keys are kept and what was done."""
    del request, case
    state = desk.state
    return answers.Status(
        separation=desk.setting.separation,
        separated=desk.setting.separated,
        key_storage=desk.keys.describe(),
        certificates=len(state.by_fingerprint),
        names_bound=len(state.behind),
        names_revoked=len(state.revoked_names),
        expected=len(state.open_listings(desk.now_ns)),
        refusals=state.refusals + desk.refusals.pending,
        alarms=state.alarm_count,
        log_records=desk.log.count,
        server_names=state.server_names,
        server_uri=state.server_uri,
        issuing_not_after_ns=not_after_ns(load_certificate(state.issuing_der)),
        limits=state.limits,
    )
