"""Every kind x role x action, against a second table that was written by hand."""

from itertools import combinations

import pytest

from asepsis.core.errors import NotAuthenticated, NotPermitted
from asepsis.core.model.identity import PrincipalKind
from asepsis.hub.access.principal import ANONYMOUS, Principal, Role
from asepsis.hub.access.rules import Action, decide

# One row an action. D device, G gateway, C consumer, I IDevID, N nobody, S server's certificate,
# X machine with an expired or unrecorded certificate, U update client of the DDI interface;
# a administrator, e clinical engineer, s security, c clinician, v viewer.
EXPECTED = """
submit-origin      D G . . . . .   . . . . .
submit-alert       D G . . . . .   . . . . .
submit-waveform    D G . . . . .   . . . . .
submit-fhir        D G . . . . .   . . . . .
submit-late        D G . . . . .   . . . . .
submit-hl7v2       . G . . . . .   . . . . .
read-metadata      D G C . . . .   a e s c v
consume            . . C . . . .   . . . . .
commit-cursor      . . C . . . .   . . . . .
watch-live         . . C . . . .   . e . c v
enrol              D G C I N . X   . . . . .
renew              D G C . . . X   . . . . .
read-ca            D G C I N . X   a e s c v
read-time          D G C I N . X   . . . . .
list-devices       . . . . . . .   a e s c v
read-device        . . . . . . .   a e s c v
revoke-device      . . . . . . .   a e s . .
declare-source     . . . . . . .   a e . . .
read-audit         . . . . . . .   a . s . .
manage-consumers   . . . . . . .   a . . . .
manage-profiles    . . . . . . .   a e . . .
manage-people      . . . . . . .   a . . . .
read-status        . . . . . . .   a e s c v
sign-in            . . . . N . .   a e s c v
use-console        . . . . . . .   a e s c v
read-patient       . . . . . . .   . e . c v
read-record        . . C . . . .   . e . c v
list-associations  . . . . . . .   . e . c v
decide-association . . . . . . .   . . . c .
place-device       . . . . . . .   a e . . .
report-evidence    . G . . . . .   . . . . .
hold-pair          . G . . . . .   . . . . .
open-bypass        . . . . . . .   a e . . .
attest             D . . . . . .   . . . . .
manage-attestation . . . . . . .   a e . . .
fetch-requests     D . . . . . .   . . . . .
ask-device         . . . . . . .   a e . c .
fetch-updates      D . . . . . .   . . . . .
manage-updates     . . . . . . .   a e . . .
witness-audit      D G C . . . .   . . . . .
store-images       D G . . . . .   . . . . .
read-images        . G C . . . .   . e . c v
fetch-outbound     . G . . . . .   . . . . .
ask-archive        . G . . . . .   . . . . .
subscribe          . . C . . . .   . . . . .
read-deliveries    . . . . . . .   a e . . .
manage-destinations . . . . . . .  a . . . .
handle-dead-letters . . . . . . .  . e . . .
update-by-ddi      U . . . . . .   . . . . .
manage-ddi         . . . . . . .   a e . . .
manage-campaigns   . . . . . . .   a e . . .
"""
NAME = "urn:dev:mac:0000000000000001"
OTHER = "urn:dev:mac:0000000000000002"
MACHINES = {
    "D": Principal(kind=PrincipalKind.DEVICE, name=NAME),
    "G": Principal(kind=PrincipalKind.GATEWAY, name=NAME),
    "C": Principal(kind=PrincipalKind.CONSUMER, name=NAME),
    "I": Principal(kind=PrincipalKind.IDEVID, name="SN-1"),
    "N": ANONYMOUS,
    "S": Principal(kind=PrincipalKind.SERVER, name=NAME),
    "U": Principal(kind=PrincipalKind.UPDATE_CLIENT, name="pump-7"),
    "X": Principal(kind=PrincipalKind.DEVICE, name=NAME, renewal_only=True),
}
ROLES = {
    "a": Role.ADMINISTRATOR,
    "e": Role.CLINICAL_ENGINEER,
    "s": Role.SECURITY,
    "c": Role.CLINICIAN,
    "v": Role.VIEWER,
}
TABLE = {line.split()[0]: set(line.split()[1:]) for line in EXPECTED.strip().splitlines()}


def outcome(principal: Principal, action: Action, resource: str | None = None) -> str:
    try:
        decide(principal, action, resource)
    except NotAuthenticated:
        return "who are you"
    except NotPermitted:
        return "no"
    return "yes"


def test_the_second_table_names_every_action_once() -> None:
    assert sorted(TABLE) == sorted(Action)
    assert len(EXPECTED.strip().splitlines()) == len(Action)


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("letter", MACHINES)
def test_every_machine_and_action(letter: str, action: Action) -> None:
    refusal = "who are you" if letter == "N" else "no"
    expected = "yes" if letter in TABLE[action] else refusal
    assert outcome(MACHINES[letter], action) == expected


@pytest.mark.parametrize("action", Action)
def test_every_set_of_roles_may_do_what_one_of_them_may(action: Action) -> None:
    for count in range(len(ROLES) + 1):
        for letters in combinations(ROLES, count):
            roles = frozenset(ROLES[letter] for letter in letters)
            person = Principal(kind=PrincipalKind.PERSON, name="ana", roles=roles)
            assert outcome(person, action) == ("yes" if TABLE[action] & set(letters) else "no")


@pytest.mark.parametrize("action", Action)
def test_a_password_alone_brings_no_software_and_changes_no_account(action: Action) -> None:
    person = Principal(
        kind=PrincipalKind.PERSON, name="ana", roles=frozenset(Role), password_only=True
    )
    gated = ("manage-updates", "manage-campaigns", "manage-ddi", "manage-people")
    refused = action in gated or not TABLE[action] & set(ROLES)
    assert outcome(person, action) == ("no" if refused else "yes")


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("letter", "DGC")
def test_a_machine_acts_on_its_own_name(letter: str, action: Action) -> None:
    allowed = outcome(MACHINES[letter], action)
    assert outcome(MACHINES[letter], action, NAME) == allowed


@pytest.mark.parametrize("action", [a for a in Action if a.startswith("submit")])
def test_data_of_others_needs_the_declared_list(action: Action) -> None:
    assert outcome(MACHINES["D"], action, OTHER) == "no"
    gateway = Principal(kind=PrincipalKind.GATEWAY, name=NAME, declared=frozenset({OTHER}))
    assert outcome(gateway, action, OTHER) == "yes"
    assert outcome(gateway, action, OTHER + "0") == "no"


@pytest.mark.parametrize("action", [Action.CONSUME, Action.COMMIT_CURSOR, Action.RENEW])
def test_cursors_and_certificates_of_others_are_nobodys(action: Action) -> None:
    """Goal: a declaration lets data through, never a certificate or a cursor."""
    for letter in "DGC":
        machine = Principal(kind=MACHINES[letter].kind, name=NAME, declared=frozenset({OTHER}))
        assert outcome(machine, action, OTHER) == "no"


def test_machines_have_no_roles_that_count() -> None:
    device = Principal(kind=PrincipalKind.DEVICE, name=NAME, roles=frozenset(Role))
    assert outcome(device, Action.REVOKE_DEVICE) == "no"
