"""What a peer may ask archives and worklists, and what becomes of a retrieval's counts."""

from typing import Any

import msgspec
import pytest

from asepsis.core.errors import ConfigError
from asepsis.core.wire.relay import Begun, Kind
from asepsis.edge.gateway.imaging import policy, policy_reading
from asepsis.edge.gateway.imaging.dimse import Status, Tag
from asepsis.edge.gateway.imaging.pdu_values import AssociateRequest, ProposedContext, RoleSelection
from asepsis.edge.gateway.imaging.policy import Peer
from asepsis.edge.gateway.imaging.retrieval import Counts
from asepsis.edge.gateway.imaging.services import (
    EXPLICIT,
    FIND_STUDY,
    FIND_WORKLIST,
    GET_STUDY,
    IMPLICIT,
    STEP,
)
from asepsis.edge.gateway.imaging.settings import ImagingSettings

CT, JPEG = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.4.70"
SEGMENTS = ("10.0.0.0/8",)
GATEWAY = "urn:uuid:00000000-0000-4000-8000-000000000009"
ASKS = {
    "sop_classes": ["query", "retrieve", "worklist", "mpps"],
    "archive": "pacs",
    "worklist": f"{GATEWAY}#ris",
    "move_to": ["VIEWER"],
}
VIEWER = {"title": "VIEWER", "host": "10.1.2.9", "cleartext": True}


def settings(peer: dict[str, Any], *destinations: dict[str, Any]) -> ImagingSettings:
    document: dict[str, Any] = {
        "listeners": [{"name": "rad", "host": "10.1.0.1", "ae_titles": ["GATE"]}],
        "peers": [
            {
                "name": "ct", "listener": "rad", "addresses": ["10.1.2.3"], "ae_titles": ["CT1"],
                "device": "urn:dev:mac:0250c2fffe000001", "cleartext": True, **peer,
            }
        ],
        "destinations": list(destinations),
    }  # fmt: skip
    return msgspec.convert(document, ImagingSettings)


def peer_of(peer: dict[str, Any]) -> Peer:
    (door,) = policy_reading.doors(settings(peer, VIEWER), segments=SEGMENTS)
    return door.peers[0]


def ask(*contexts: tuple[str, tuple[str, ...]], roles: tuple[str, ...] = ()) -> AssociateRequest:
    return AssociateRequest(
        called="GATE",
        calling="CT1",
        contexts=tuple(ProposedContext(2 * n + 1, *each) for n, each in enumerate(contexts)),
        roles=tuple(RoleSelection(uid, user=True, provider=True) for uid in roles),
    )


def test_queries_are_read_in_the_first_syntax_that_we_read() -> None:
    peer = peer_of(ASKS)
    asked = ask(
        (FIND_STUDY, (JPEG, IMPLICIT, EXPLICIT)), (FIND_WORKLIST, (EXPLICIT,)), (STEP, (JPEG,)),
    )  # fmt: skip
    found = policy.negotiate(asked, peer, roles={"query", "worklist"})
    assert [(one.result, one.transfer_syntax) for one in found] == [
        (0, IMPLICIT), (0, EXPLICIT), (4, JPEG),
    ]  # fmt: skip
    storing = policy.negotiate(asked, peer, roles={"store"})
    assert [one.result for one in storing] == [1, 1, 1]


def test_what_a_c_get_returns_is_taken_from_who_may_ask_and_opens_no_storing() -> None:
    asked = ask((GET_STUDY, (EXPLICIT,)), (CT, (JPEG, EXPLICIT)), roles=(CT,))
    peer = peer_of(ASKS)
    found = policy.negotiate(asked, peer, roles={"query"})
    assert [(one.result, one.transfer_syntax) for one in found] == [(0, EXPLICIT), (0, JPEG)]
    selected = policy.returned(asked, peer, roles={"query"})
    assert selected == (RoleSelection(CT, user=False, provider=True),)
    assert policy.returned(asked, peer, roles={"store"}) == ()
    only_finds = peer_of(ASKS | {"sop_classes": ["query"]})
    assert policy.returned(asked, only_finds, roles={"query"}) == ()
    assert [one.result for one in policy.negotiate(asked, only_finds, roles={"query"})] == [3, 3]


def test_each_kind_goes_to_who_is_named_for_it() -> None:
    peer = peer_of(ASKS)
    assert peer.target(Kind.GET) == "pacs"
    assert peer.target(Kind.FIND_WORKLIST) == peer.target(Kind.MPPS_SET) == f"{GATEWAY}#ris"
    assert peer_of(ASKS | {"steps": GATEWAY}).target(Kind.MPPS_CREATE) == GATEWAY
    assert peer.asks
    assert not peer_of({"sop_classes": ["storage"]}).asks


@pytest.mark.parametrize(
    "peer",
    [
        ASKS | {"archive": ""},
        ASKS | {"worklist": ""},
        ASKS | {"sop_classes": ["mpps"], "worklist": ""},
        ASKS | {"move_to": ["ELSEWHERE"]},
    ],
)
def test_a_peer_that_could_ask_nobody_is_refused(peer: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        peer_of(peer)


@pytest.mark.parametrize(
    "destinations",
    [
        [VIEWER, VIEWER],
        [VIEWER | {"cleartext": False}],
        [VIEWER | {"host": "192.0.2.1"}],
        [VIEWER | {"chain_file": "a"}],
        [VIEWER | {"sop_classes": [f"1.2.{n}" for n in range(64)]}],
    ],
)
def test_destinations_that_are_refused(destinations: list[dict[str, Any]]) -> None:
    with pytest.raises(ConfigError):
        policy_reading.check_destinations(settings(ASKS, *destinations), segments=SEGMENTS)


@pytest.mark.parametrize(
    ("statuses", "said", "whole"),
    [
        ([0, 0], 0, Status.SUCCESS),
        ([0, 0xB007], 0xB000, 0xB000),
        ([0, 0xA700], 0, Status.SUB_OPERATIONS_FAILED),
        ([0xA700], 0, Status.NO_SUB_OPERATION),
        ([0], 0xC001, 0xC001),
        ([], 0, Status.SUCCESS),
    ],
)
def test_the_status_of_a_retrieval_follows_from_its_instances(
    statuses: list[int], said: int, whole: int
) -> None:
    """Goal: an instance that was not given never counts as one."""
    counts = Counts(remaining=3)
    for number, status in enumerate(statuses):
        counts.note(Begun(sop_class=CT, sop_instance=f"1.{number}", transfer_syntax=JPEG), status)
    assert counts.status(said) == whole
    assert Tag.REMAINING not in counts.elements(final=True)
    assert sum(counts.elements(final=True).values()) == len(statuses)
    assert len(counts.failed_uids) == counts.failed
