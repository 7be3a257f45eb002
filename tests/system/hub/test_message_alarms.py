"""Alerts of HL7 v2 on a real hub: an alarm event of their device, and never active when late."""

import time
from datetime import UTC, datetime

import httpx
from hub_ward import GATEWAY, OTHER, UNSIGNED, Ward
from test_message_batches import group, post, word
from watching import View, watching

LOW, HIGH = b"196670^MDC_EVT_LO^MDC", b"196648^MDC_EVT_HI^MDC"


def alert(
    name: bytes,
    phase: bytes,
    *,
    event: bytes = LOW,
    device: str = UNSIGNED,
    ago_s: float = 0,
) -> bytes:
    at = datetime.fromtimestamp(time.time() - ago_s, UTC).strftime("%Y%m%d%H%M%S.000").encode()
    state = b"inactive" if phase == b"end" else b"active"
    return (
        b"MSH|^~\\&|MON|ICU|||%b||ORU^R40^ORU_R40|1|P|2.6\rOBR|1||%b^MON||||%b\r"
        b"OBX|1|ST|%b|1.7.4.150456.1|SpO2||PH~SP|||F||||||\r"
        b"OBX|2|ST|68481^MDC_ATTR_EVENT_PHASE^MDC|1.7.4.150456.3|%b||||||F|||||||%b\r"
        b"OBX|3|ST|68482^MDC_ATTR_ALARM_STATE^MDC|1.7.4.150456.4|%b||||||F\r"
        % (at, name, at, event, phase, word(device), state)
    )


def events(view: View) -> list[tuple[str, str]]:
    return [
        (data["phase"], data["text"])
        for _, name, data in view.seen
        if name == "alarm" and data["device"] == UNSIGNED and data.get("cause") is None
    ]


def send(client: httpx.Client, sequence: int, body: bytes, *, age_ms: int = 0) -> None:
    answer = post(client, group(sequence, body, age_ms=age_ms))
    assert answer.json() == {"stored": 1, "refused": []}


def test_an_association_of_a_gateway_that_nobody_named_is_refused(ward: Ward) -> None:
    """Goal: whose device it is comes only from a source that a person named for that."""
    body = (
        b"MSH|^~\\&|MON|ICU|||20261122||ORU^R01^ORU_R01|1|P|2.6\rPID|||4711^^^MRN\r"
        b"OBR|1||7|69136^MDC_OBS_ASSOCIATION_PATIENT_DEVICE^MDC\r"
        b"OBX|1|CWE|68487^MDC_ATTR_EVT_COND^MDC||198332^X^MDC||||||F\r"
        b"PRT|1|UC||EQUIP^EQUIP^HL70912||||||%b|20261122\r" % word(UNSIGNED)
    )
    (refused,) = post(ward.client(GATEWAY), group(690, body)).json()["refused"]
    assert refused["code"] == "ASP-206"


def test_an_alert_is_told_once_and_its_end_ends_it(ward: Ward) -> None:
    client = ward.client(GATEWAY)
    with watching(ward, UNSIGNED, OTHER) as view:
        first = group(701, alert(b"A-1", b"start"))
        for _ in range(2):  # Sent again because its answer was lost.
            assert post(client, first).status_code == 200
        send(client, 702, alert(b"A-1", b"update", event=HIGH))
        send(client, 703, alert(b"OLD", b"start", ago_s=60))
        send(client, 704, alert(b"HELD", b"start"), age_ms=6_000)
        answer = post(client, group(705, alert(b"X", b"start", device=OTHER), devices=(OTHER,)))
        assert answer.status_code == 200
        send(client, 706, alert(b"A-2", b"update"))  # Its start was never heard.
        send(client, 707, alert(b"A-1", b"end"))
        send(client, 708, alert(b"A-2", b"end", ago_s=60), age_ms=6_000)
        view.until(lambda: len(events(view)) >= 5)
        time.sleep(0.3)
    told = [phase for phase, _ in events(view)]
    assert told == ["onset", "change", "onset", "end", "end"]
    assert not [data for _, name, data in view.seen if name == "alarm" and data["device"] == OTHER]
