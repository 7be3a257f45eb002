"""The hub dials an EHR over MLLP and TLS: nothing lost, order kept, refusals decided by people."""

from collections.abc import Callable

import pytest
from delivery_ward import ROUTES, DeliveryWard, oru, wait_until

from asepsis.core.errors import InputError, NotPermitted
from asepsis.core.wire.hl7 import Message

Start = Callable[..., DeliveryWard]
STOP = ROUTES.replace('to = ["ehr"]', 'to = ["ehr"]\non_refused = "stop"')


def numbers(first: int, last: int) -> list[str]:
    return [str(n) for n in range(first, last + 1)]


@pytest.mark.slow
def test_messages_arrive_mapped_in_order_and_once_from_the_entry_on(delivering: Start) -> None:
    """Goal: also who may do what, and that the hub's own addresses need the flag: one hub."""
    ward = delivering()
    administrator, engineer = ward.people(), ward.people("clinical-engineer")
    with pytest.raises(NotPermitted):
        administrator.get("/api/dead-letters")
    with pytest.raises(NotPermitted):
        engineer.post("/api/destinations", {"name": "x", "kind": "mllp", "address": "h:1"})
    with pytest.raises(NotPermitted):
        ward.people("clinician").get("/api/dead-letters")
    assert engineer.get("/api/destinations") == {"destinations": []}

    ward.send([oru(1000)])  # Before the entry.
    ward.add(local=False)
    found = administrator.post("/api/destinations/ehr/test", {})
    assert found["reached"] is False
    assert "loopback" in found["why"]
    ward.send([oru(1)])
    wait_until(lambda: "ASP-206" in ward.destination()["trouble"])
    assert not ward.sink.ids()
    administrator.post("/api/destinations/ehr/remove", {"confirm": "ehr"})

    ward.add(in_flight=8)
    assert administrator.post("/api/destinations/ehr/test", {})["reached"] is True
    ward.send([oru(n) for n in range(1, 41)])
    ward.send([oru(n) for n in range(41, 61)])
    wait_until(lambda: len(ward.sink.ids()) >= 60)
    assert ward.sink.ids() == numbers(1, 60)
    first = Message.parse(ward.sink.received()[0][1].encode())
    assert first.get("MSH-5") == "EHR"
    assert first.get("PID-3") == "4711"
    wait_until(lambda: ward.destination()["records_behind"] == 0)
    assert ward.destination()["accepted"] == 60


@pytest.mark.slow
def test_an_ehr_that_is_away_and_a_hub_that_dies_lose_nothing(delivering: Start) -> None:
    ward = delivering()
    ward.add(in_flight=4)
    ward.send([oru(n) for n in range(1, 21)])
    wait_until(lambda: len(ward.sink.ids()) >= 5)
    ward.sink.kill()
    ward.send([oru(n) for n in range(21, 41)])
    assert ward.ward.hub is not None
    ward.ward.hub.kill()
    ward.start()
    ward.send([oru(n) for n in range(41, 51)])
    ward.sink.start()
    wait_until(lambda: len(ward.sink.once()) >= 50)
    assert ward.sink.once() == numbers(1, 50)
    # What was accepted and not yet noted when something died may come twice, and nothing else.
    assert len(ward.sink.ids()) <= 50 + 2 * 20


@pytest.mark.slow
def test_refused_vitals_are_stepped_over_and_can_be_replayed(delivering: Start) -> None:
    ward = delivering()
    ward.add()
    ward.sink.behave(AR="\\|7\\|P\\|")
    ward.send([oru(n) for n in range(1, 11)])
    wait_until(lambda: len(ward.sink.ids()) >= 9)
    assert ward.sink.ids() == [n for n in numbers(1, 10) if n != "7"]
    engineer = ward.people("clinical-engineer")
    (letter,) = engineer.get("/api/dead-letters")["dead_letters"]
    assert (letter["state"], letter["code"], letter["message_type"]) == ("open", "AR", "ORU^R01")
    found = engineer.get("/api/dead-letters", patient="4711", control_id="7")["dead_letters"]
    assert [one["id"] for one in found] == [letter["id"]]
    assert not engineer.get("/api/dead-letters", patient="9999")["dead_letters"]
    opened = engineer.get(f"/api/dead-letters/{letter['id']}")
    assert {"path": "PID-5", "name": "Patient Name", "value": "DOE^JANE"} in opened["fields"]
    ward.sink.behave()
    engineer.post(f"/api/dead-letters/{letter['id']}/replay", {"reason": "the EHR was repaired"})
    wait_until(lambda: "7" in ward.sink.ids())
    wait_until(lambda: engineer.get("/api/dead-letters", state="delivered")["dead_letters"])
    with pytest.raises(InputError):
        engineer.post(f"/api/dead-letters/{letter['id']}/discard", {"reason": "again"})
    entries = ward.people().get("/api/audit", after=-1)["entries"]
    acts = {entry["action"] for entry in entries}
    assert {"add-destination", "read-dead-letter", "replay-dead-letter"} <= acts


@pytest.mark.slow
def test_a_refused_message_stops_the_line_until_a_person_decides(delivering: Start) -> None:
    ward = delivering(routes=STOP)
    ward.add(in_flight=8)
    ward.sink.behave(AR="\\|(3|5)\\|P\\|")
    ward.send([oru(n) for n in range(1, 9)])
    wait_until(lambda: ward.destination()["stands_still"])
    assert ward.sink.ids() == ["1", "2"]
    engineer = ward.people("clinical-engineer")
    (letter,) = engineer.get("/api/dead-letters")["dead_letters"]
    assert letter["state"] == "blocking"
    assert ward.ward.hub is not None
    ward.ward.hub.kill()  # It stands still after a restart, too.
    ward.start()
    wait_until(lambda: ward.destination()["stands_still"])
    engineer = ward.people("clinical-engineer")
    engineer.post(f"/api/dead-letters/{letter['id']}/discard", {"reason": "sent by hand"})
    wait_until(lambda: ward.sink.once() == ["1", "2", "4"])
    wait_until(lambda: ward.destination()["stands_still"])
    ward.sink.behave()
    (letter,) = engineer.get("/api/dead-letters")["dead_letters"]
    engineer.post(f"/api/dead-letters/{letter['id']}/replay", {"reason": "table repaired"})
    wait_until(lambda: ward.sink.once() == ["1", "2", "4", "5", "6", "7", "8"])
    wait_until(lambda: len(engineer.get("/api/dead-letters", state="delivered")["dead_letters"]))


@pytest.mark.slow
def test_a_dead_letter_goes_elsewhere_and_a_slow_destination_holds_up_nobody(
    delivering: Start,
) -> None:
    routes = ROUTES.replace('to = ["ehr"]', 'to = ["ehr", "other"]')
    ward = delivering(routes=routes)
    ward.add(answer_s=0.5)
    ward.add("other")
    ward.people().post("/api/destinations/other/remove", {"confirm": "other"})
    ward.sink.behave(mute="\\|2\\|P\\|")
    ward.send([oru(n) for n in range(1, 4)])
    wait_until(lambda: "answer" in ward.destination()["trouble"])
    assert ward.sink.once() == ["1"]
    ward.add("other")
    ward.send([oru(4)])
    wait_until(lambda: "4" in ward.sink.ids())  # By "other"; "ehr" still waits for 2.
    ward.sink.behave(AR="\\|2\\|P\\|")
    engineer = ward.people("clinical-engineer")
    wait_until(lambda: engineer.get("/api/dead-letters")["dead_letters"])
    (letter,) = engineer.get("/api/dead-letters")["dead_letters"]
    ward.sink.behave()
    body = {"reason": "the other one takes it", "to": "other"}
    engineer.post(f"/api/dead-letters/{letter['id']}/redirect", body)
    wait_until(lambda: "2" in ward.sink.ids())
