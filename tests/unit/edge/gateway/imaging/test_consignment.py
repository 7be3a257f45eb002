"""What goes to the hub in one request, and what its answer means for each instance."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import BackPressure, NotPermitted
from asepsis.core.wire.dicomweb_store import Failure, Stored, status_of, store_response
from asepsis.edge.gateway.imaging import consignment
from asepsis.edge.gateway.imaging.channel import Written
from asepsis.edge.gateway.imaging.consignment import Load
from asepsis.edge.gateway.imaging.dimse import Status
from asepsis.edge.gateway.imaging.stow import verdict, verdicts
from asepsis.edge.gateway.imaging.vault import Record

UIDS = [f"1.2.3.{number}" for number in range(4)]


def load(number: int, length: int = 1_000, *, calling: str = "CT1", user: str = "") -> Load:
    written = Written(
        token=number, peer="ct", device="urn:dev:mac:1", sop_class="1.2",
        sop_instance=f"1.2.3.{number}", transfer_syntax="1.2.840.10008.1.2.1", calling=calling,
        called="GATE", user=user, length=length, ack="hub",
    )  # fmt: skip
    return Load(number, Record(written=written, key=bytes(32), received_at_ns=0))


def test_only_small_instances_of_one_sender_go_together() -> None:
    first = load(1)
    assert consignment.fits([first], load(2))
    assert not consignment.fits([first], load(2, calling="MR1"))
    assert not consignment.fits([first], load(2, user="ida"))
    assert not consignment.fits([first], load(2, consignment.BYTES_MAX))
    assert not consignment.fits([load(1, 2 * consignment.BYTES_MAX)], load(2))
    full = [load(number) for number in range(consignment.INSTANCES_MAX)]
    assert not consignment.fits(full, load(99))


def test_an_instance_does_not_go_twice_in_one_request() -> None:
    """Goal: an answer names instances by their UID, so that each stands there once."""
    assert not consignment.fits([load(1), load(2)], load(2))


failures = st.sampled_from([None, *Failure])


@given(given_each=st.lists(failures, min_size=2, max_size=4))
def test_each_instance_gets_the_word_that_the_hub_says_of_it(
    given_each: list[Failure | None],
) -> None:
    uids = UIDS[: len(given_each)]
    answer = [
        Stored(sop_class="1.2", sop_instance=uid, retrieve_url="" if failure else "/x",
               failure=failure)
        for uid, failure in zip(uids, given_each, strict=True)
    ]  # fmt: skip
    found = verdicts(status_of(answer), store_response(answer), None, instances=uids)
    assert found is not None
    assert [each.status for each in found] == [
        0 if failure is None else int(failure) for failure in given_each
    ]
    assert [each.later for each in found] == [
        failure is Failure.NO_RESOURCES for failure in given_each
    ]


def test_a_refusal_that_names_nobody_is_asked_about_one_by_one() -> None:
    nameless = [Stored(sop_class="", sop_instance="", failure=Failure.NOT_UNDERSTOOD)]
    stored = [Stored(sop_class="1.2", sop_instance=UIDS[0], retrieve_url="/x")]
    mixed = store_response([*nameless, *stored])
    assert verdicts(202, mixed, None, instances=UIDS[:2]) is None
    assert verdicts(400, b"{}", None, instances=UIDS[:2]) is None
    assert verdicts(202, b"not JSON", None, instances=UIDS[:2]) is None


def test_a_hub_that_is_busy_or_refuses_us_decides_nothing() -> None:
    with pytest.raises(BackPressure):
        verdicts(503, b"{}", "2", instances=UIDS)
    with pytest.raises(NotPermitted):
        verdicts(403, b"{}", None, instances=UIDS)
    none = [Stored(sop_class="1.2", sop_instance=UIDS[0], failure=Failure.NO_RESOURCES)]
    with pytest.raises(BackPressure):
        verdict(503, store_response(none), "30")


def test_one_instance_is_judged_by_the_first_reason() -> None:
    body = json.dumps({"00081198": {"vr": "SQ", "Value": [{"00081197": {"Value": [0xA900]}}]}})
    assert verdict(409, body.encode(), None).status == Status.DATA_SET_MISMATCH
    assert verdict(200, b"{}", None).status == Status.SUCCESS
    too_long = verdict(413, b"{}", None)
    assert (too_long.status, too_long.later) == (Status.OUT_OF_RESOURCES, False)
