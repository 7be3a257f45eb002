"""The one decision table: kind of principal x role x action. Pure; every route names its action.

The default is refusal: what the tables do not name is not permitted. Three further rules hold for
the resource: a machine acts on itself or on a device of its declared list, a certificate that is
good for renewal only reaches the renewal, and nobody in particular is asked to authenticate.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from asepsis.core.errors import NotAuthenticated, NotPermitted
from asepsis.core.model.identity import PrincipalKind
from asepsis.hub.access.principal import Principal, Role


class Action(StrEnum):
    """Everything that can be asked of the hub. A route or command without one fails the build."""

    SUBMIT_ORIGIN = "submit-origin"
    SUBMIT_ALERT = "submit-alert"
    SUBMIT_WAVEFORM = "submit-waveform"
    SUBMIT_FHIR = "submit-fhir"
    SUBMIT_LATE = "submit-late"
    SUBMIT_HL7V2 = "submit-hl7v2"
    STORE_IMAGES = "store-images"
    READ_IMAGES = "read-images"
    READ_METADATA = "read-metadata"
    CONSUME = "consume"
    COMMIT_CURSOR = "commit-cursor"
    WATCH_LIVE = "watch-live"
    ENROL = "enrol"
    RENEW = "renew"
    READ_CA = "read-ca"
    READ_TIME = "read-time"
    LIST_DEVICES = "list-devices"
    READ_DEVICE = "read-device"
    REVOKE_DEVICE = "revoke-device"
    DECLARE_SOURCE = "declare-source"
    READ_AUDIT = "read-audit"
    MANAGE_CONSUMERS = "manage-consumers"
    MANAGE_PROFILES = "manage-profiles"
    MANAGE_PEOPLE = "manage-people"
    READ_STATUS = "read-status"
    SIGN_IN = "sign-in"
    USE_CONSOLE = "use-console"
    READ_PATIENT = "read-patient"
    READ_RECORD = "read-record"
    LIST_ASSOCIATIONS = "list-associations"
    DECIDE_ASSOCIATION = "decide-association"
    PLACE_DEVICE = "place-device"
    FETCH_OUTBOUND = "fetch-outbound"
    ASK_ARCHIVE = "ask-archive"
    SUBSCRIBE = "subscribe"
    READ_DELIVERIES = "read-deliveries"
    MANAGE_DESTINATIONS = "manage-destinations"
    HANDLE_DEAD_LETTERS = "handle-dead-letters"
    REPORT_EVIDENCE = "report-evidence"
    HOLD_PAIR = "hold-pair"
    OPEN_BYPASS = "open-bypass"
    ATTEST = "attest"
    MANAGE_ATTESTATION = "manage-attestation"
    FETCH_REQUESTS = "fetch-requests"
    ASK_DEVICE = "ask-device"
    FETCH_UPDATES = "fetch-updates"
    MANAGE_UPDATES = "manage-updates"
    MANAGE_CAMPAIGNS = "manage-campaigns"
    UPDATE_BY_DDI = "update-by-ddi"
    MANAGE_DDI = "manage-ddi"
    WITNESS_AUDIT = "witness-audit"


_SUBMIT: Final = frozenset(
    {
        Action.SUBMIT_ORIGIN,
        Action.SUBMIT_ALERT,
        Action.SUBMIT_WAVEFORM,
        Action.SUBMIT_FHIR,
        Action.SUBMIT_LATE,
        Action.STORE_IMAGES,
    }
)
_BEARS: Final = _SUBMIT | {Action.SUBMIT_HL7V2}
_ENROLMENT: Final = frozenset({Action.ENROL, Action.READ_CA, Action.READ_TIME})
_IDENTITY: Final = _ENROLMENT | {Action.RENEW}

MACHINES: Final[Mapping[PrincipalKind, frozenset[Action]]] = {
    PrincipalKind.DEVICE: _IDENTITY
    | _SUBMIT
    | {Action.READ_METADATA, Action.ATTEST, Action.WITNESS_AUDIT, Action.FETCH_UPDATES}
    | {Action.FETCH_REQUESTS},
    # Messages come from gateways and declared servers only (REQ-MSG-003).
    PrincipalKind.GATEWAY: _IDENTITY
    | _BEARS
    | {
        Action.READ_METADATA,
        Action.REPORT_EVIDENCE,
        Action.HOLD_PAIR,
        Action.FETCH_OUTBOUND,
        Action.ASK_ARCHIVE,
        Action.READ_IMAGES,
        Action.WITNESS_AUDIT,
    },
    PrincipalKind.CONSUMER: _IDENTITY
    | {
        Action.READ_METADATA,
        Action.READ_RECORD,
        Action.READ_IMAGES,
        Action.CONSUME,
        Action.COMMIT_CURSOR,
        Action.SUBSCRIBE,
        Action.WATCH_LIVE,
        Action.WITNESS_AUDIT,  # A vendor's witness is enrolled as a consumer.
    },
    PrincipalKind.IDEVID: _ENROLMENT,
    # A device with SWUpdate or RAUC: its token or certificate opens the DDI listener only.
    PrincipalKind.UPDATE_CLIENT: frozenset({Action.UPDATE_BY_DDI}),
    PrincipalKind.ANONYMOUS: _ENROLMENT | {Action.SIGN_IN},
    # A hub's own certificate names a server; it never opens a route as a client.
    PrincipalKind.SERVER: frozenset(),
}
"""What each kind of machine may ask for, about itself and its declared list."""

_READ: Final = frozenset(
    {
        Action.SIGN_IN,
        Action.USE_CONSOLE,
        Action.LIST_DEVICES,
        Action.READ_DEVICE,
        Action.READ_STATUS,
        Action.READ_METADATA,
        Action.READ_CA,
    }
)
_SEE_PATIENTS: Final = frozenset(
    {
        Action.WATCH_LIVE,
        Action.READ_PATIENT,
        Action.READ_RECORD,
        Action.READ_IMAGES,
        Action.LIST_ASSOCIATIONS,
    }
)

PEOPLE: Final[Mapping[Role, frozenset[Action]]] = {
    # Runs the installation; sees no patient, and may not give consumers what they show.
    Role.ADMINISTRATOR: _READ
    | {
        Action.MANAGE_UPDATES,
        Action.MANAGE_CAMPAIGNS,
        Action.REVOKE_DEVICE,
        Action.DECLARE_SOURCE,
        Action.OPEN_BYPASS,
        Action.MANAGE_ATTESTATION,
        Action.ASK_DEVICE,  # Carries what an operator signed; who carries it counts for nothing.
        Action.MANAGE_DDI,
        Action.PLACE_DEVICE,
        Action.READ_AUDIT,
        Action.MANAGE_CONSUMERS,
        Action.MANAGE_PROFILES,
        Action.MANAGE_PEOPLE,
        Action.READ_DELIVERIES,
        Action.MANAGE_DESTINATIONS,
    },
    Role.CLINICAL_ENGINEER: _READ
    | _SEE_PATIENTS
    | {
        Action.MANAGE_UPDATES,
        Action.MANAGE_CAMPAIGNS,
        Action.REVOKE_DEVICE,
        Action.DECLARE_SOURCE,
        Action.OPEN_BYPASS,
        Action.MANAGE_ATTESTATION,
        Action.ASK_DEVICE,
        Action.MANAGE_DDI,
        Action.PLACE_DEVICE,
        Action.MANAGE_PROFILES,
        Action.READ_DELIVERIES,
        Action.HANDLE_DEAD_LETTERS,  # A dead letter holds what the sender said of a patient.
    },
    Role.SECURITY: _READ | {Action.REVOKE_DEVICE, Action.READ_AUDIT},
    # Stands at the bed: only who sees the patient may say whose device it is (IHE PCIM).
    Role.CLINICIAN: _READ | _SEE_PATIENTS | {Action.DECIDE_ASSOCIATION, Action.ASK_DEVICE},
    Role.VIEWER: _READ | _SEE_PATIENTS,
}
"""What each role of a person may ask for; a person with two roles may do what either may."""

OWN_RESOURCE: Final = _BEARS | {Action.CONSUME, Action.COMMIT_CURSOR, Action.RENEW}
"""Actions whose resource is a name: the principal's own or, for data, one of its declared list."""

RENEWAL_ONLY: Final = _IDENTITY
"""What is left of a certificate that is expired or was never recorded."""


SECOND_FACTOR: Final = frozenset(
    {
        Action.MANAGE_UPDATES,
        Action.MANAGE_CAMPAIGNS,
        Action.MANAGE_DDI,
        # A token or another password would open everything else.
        Action.MANAGE_PEOPLE,
    }
)
"""What a session needs a second factor for: software for devices, and accounts."""


def decide(principal: Principal, action: Action, resource: str | None = None) -> None:
    """Let the request pass, or raise.

    Args:
        principal: Who asks.
        action: What is asked.
        resource: Whom it is about: for data the device it bears, for consumers and renewal the
            owner's name; None where the action has no such owner or it is checked later.

    Raises:
        NotAuthenticated: Nobody in particular asks for what somebody might be given.
        NotPermitted: The principal is known and may not do this, or not for this resource.
    """
    if action not in _permitted(principal):
        if principal.kind is PrincipalKind.ANONYMOUS:
            raise NotAuthenticated(f"{action} needs a credential")
        raise NotPermitted(f"a {principal.kind.value} may not {action}")
    if principal.password_only and action in SECOND_FACTOR:
        raise NotPermitted(
            f"{action} needs a second factor in this session",
            hint="show a code at /account, or enrol an authenticator there",
        )
    if resource is None or action not in OWN_RESOURCE:
        return
    # Data may be brought for others by declaration; cursors and certificates never.
    own = principal.speaks_for(resource) if action in _BEARS else resource == principal.name
    if not own:
        raise NotPermitted(f"{principal.name} may not {action} for another name")


def _permitted(principal: Principal) -> frozenset[Action]:
    if principal.kind is PrincipalKind.PERSON:
        return frozenset[Action]().union(*(PEOPLE[role] for role in principal.roles))
    permitted = MACHINES[principal.kind]
    return permitted & RENEWAL_ONLY if principal.renewal_only else permitted
