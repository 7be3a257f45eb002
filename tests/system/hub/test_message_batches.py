"""Batches of HL7 v2 on a real hub: each message judged alone, stored once, live only if current."""

import time
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hub_ward import GATEWAY, OTHER, SIGNING, UNSIGNED, Ward, make_ward
from watching import watching

from asepsis.core.model.lanes import Lane
from asepsis.core.wire.message_record import (
    AGE_UNKNOWN_MS,
    BatchGroup,
    Found,
    MessageEntry,
    MessageFindings,
    MessagePeer,
    decode,
    encode_batch,
    encode_group,
)
from asepsis.hub.opening import open_journal, open_kek
from asepsis.hub.settings import read_settings

MEDIA = "application/vnd.asepsis.hl7v2-batch"
BAD = b"MSH|^~\\&|MON|ICU|||2026||ORU^R01|1|P|2.6\rBAD\x00\r"


def word(device: str) -> bytes:
    return b"%b^^%b^EUI-64" % ((device.removeprefix("urn:dev:mac:").upper().encode(),) * 2)


def peer(*devices: str) -> MessagePeer:
    return MessagePeer("monitor", "UTC", tuple((word(device), device) for device in devices))


def oru(value: int, *, device: str = UNSIGNED, ago_s: float = 0) -> bytes:
    at = datetime.fromtimestamp(time.time() - ago_s, UTC).strftime("%Y%m%d%H%M%S.000").encode()
    return (
        b"MSH|^~\\&|MON|ICU|||%b||ORU^R01^ORU_R01|%d|P|2.6\rOBR|1||||||%b\r"
        b"OBX|1|NM|147842^MDC_ECG_HEART_RATE^MDC|1.1.1.1|%d|264864^MDC_DIM_BEAT_PER_MIN^MDC"
        b"|||||R|||%b||||%b\r" % (at, value, at, value, at, word(device))
    )


def group(
    sequence: int,
    *bodies: bytes,
    age_ms: int = 0,
    devices: tuple[str, ...] = (UNSIGNED,),
    held_ns: int = 0,
) -> BatchGroup:
    findings = MessageFindings(peer(*devices), 0, time.time_ns() - held_ns, Found.CLEARTEXT)
    return BatchGroup(sequence, age_ms, encode_group([(findings, body) for body in bodies]))


def post(client: httpx.Client, *groups: BatchGroup, epoch: int = 1) -> httpx.Response:
    headers = {"Content-Type": MEDIA, "Asepsis-Epoch": str(epoch)}
    return client.post("/hl7v2", content=encode_batch(groups), headers=headers)


def stored(ward: Ward) -> list[MessageEntry]:
    """Stop the hub and return the messages of its journal."""
    ward.close()
    settings = read_settings(ward.hospital.toml)
    kek = open_kek(settings.sealing, hub_folder=ward.hospital.data / "hub")
    journal = open_journal(settings, kek, clock=time.time_ns)
    records = [r.append for r in journal.read(Lane.MESSAGE, after=0, records_max=1_000)]
    journal.close()
    return [
        entry
        for append in records
        for entry in decode(append.kind, append.body, sequence=append.sequence)
    ]


def rates(seen: list[Any]) -> list[tuple[str, str]]:
    return [
        (numeric["value"], data["assurance"])
        for _, name, data in seen
        if name == "numerics"
        for numeric in data["numerics"]
        if int(numeric["value"]) > 60  # Smaller ones are of the tests before.
    ]


def test_each_message_is_judged_alone_and_stored_once(ward: Ward) -> None:
    client = ward.client(GATEWAY)
    groups = (group(1, oru(1), BAD, oru(2)), group(2, oru(3)))
    for _ in range(2):  # Sent again, it is answered the same and stored no second time.
        answer = post(client, *groups)
        assert answer.status_code == 200
        assert answer.json()["stored"] == 3
        (refused,) = answer.json()["refused"]
        assert (refused["sequence"], refused["index"], refused["code"]) == (1, 1, "ASP-100")
    fork = post(client, group(2, oru(4)))
    assert (fork.status_code, fork.json()["code"]) == (403, "ASP-205")


def test_malformed_batches_store_nothing(ward: Ward) -> None:
    client = ward.client(GATEWAY)
    whole = encode_batch([group(11, oru(1))])
    headers = {"Content-Type": MEDIA, "Asepsis-Epoch": "1"}
    empty = BatchGroup(11, 0, encode_group([]))
    for body in (b"", whole[:-1], whole + b"x", encode_batch([empty]), b"AMB1" * 9):
        assert client.post("/hl7v2", content=body, headers=headers).status_code == 400
    large = client.post("/hl7v2", content=bytes(1_400_000), headers=headers)
    assert large.status_code == 413
    del headers["Asepsis-Epoch"]
    assert client.post("/hl7v2", content=whole, headers=headers).status_code == 400
    device = ward.client(SIGNING)
    assert post(device, group(1, oru(1))).status_code == 403


def test_only_current_values_of_declared_devices_are_live(ward: Ward) -> None:
    """Goal: late in the gateway or after it, old, another's device: recorded, never shown."""
    client = ward.client(GATEWAY)
    with watching(ward, UNSIGNED, OTHER, SIGNING) as view:
        for sequence, one in enumerate(
            (
                group(0, oru(61)),
                group(0, oru(62, ago_s=60)),
                group(0, oru(63), age_ms=6_000),
                group(0, oru(64), age_ms=AGE_UNKNOWN_MS),
                group(0, oru(65, device=OTHER), devices=(OTHER,)),
                group(0, oru(66, device=SIGNING), devices=(SIGNING,)),
                group(0, oru(68, ago_s=4.5), held_ns=4_500_000_000),
                group(0, oru(67)),
            ),
            21,
        ):
            answer = post(client, one._replace(sequence=sequence))
            assert answer.json() == {"stored": 1, "refused": []}
            time.sleep(0.15)
        view.until(lambda: len(rates(view.seen)) == 2)
    assert rates(view.seen) == [("61", "source-claimed"), ("67", "source-claimed")]


def test_a_silent_legacy_device_becomes_an_alarm_condition(ward: Ward) -> None:
    client = ward.client(GATEWAY)
    with watching(ward, UNSIGNED) as view:
        assert post(client, group(41, oru(70))).status_code == 200
        view.wait(lambda told: told["device"] == UNSIGNED and told["phase"] == "onset", seconds=15)
        assert post(client, group(42, oru(71))).status_code == 200
        view.wait(lambda told: told["device"] == UNSIGNED and told["phase"] == "end")


def test_what_is_stored_says_what_was_found_and_whom_it_may_speak_for(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    ward = make_ward(tmp_path_factory.mktemp("found"))
    ward.start()
    client = ward.client(GATEWAY)
    both = (UNSIGNED, OTHER)
    assert post(client, group(1, oru(1), BAD, devices=both)).status_code == 200
    lies = MessagePeer("monitor", "UTC", ((word(OTHER), UNSIGNED),))
    body = encode_group([(MessageFindings(lies, 60, 5), oru(2, device=OTHER))])
    assert post(client, BatchGroup(2, 0, body)).status_code == 200
    assert post(client, group(3, BAD)).json()["stored"] == 0
    first, second = stored(ward)
    assert first.findings is not None
    assert first.findings.peer == peer(UNSIGNED)
    assert first.findings.found is Found.CLEARTEXT
    assert second.findings == MessageFindings(MessagePeer("monitor", "UTC"), 60, 5)


def test_every_message_counts_against_the_rate(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Goal: a batch is no way around the limit: 50 a second for one device, 200 at once."""
    ward = make_ward(tmp_path_factory.mktemp("rate"))
    ward.start()
    client = ward.client(GATEWAY)
    bodies = [oru(n) for n in range(1, 251)]
    assert post(client, group(1, *bodies)).status_code == 200
    busy = post(client, group(2, oru(1)))
    assert (busy.status_code, busy.json()["code"]) == (429, "ASP-402")
    time.sleep(1.3)
    assert post(client, group(2, oru(1))).status_code == 200
    ward.close()
