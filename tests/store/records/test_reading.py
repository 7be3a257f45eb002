"""Searches: whose a value is, whole pages, proven waveforms, the newest values, trends."""

import dataclasses
import json
import random
import time
from typing import Any

import fhirkit
import pytest
from fhir.resources.R4B import get_fhir_model_class
from record_house import (
    DAY,
    HEART_RATE,
    MINUTE,
    MONITOR,
    PUMP,
    SATURATION,
    START,
    House,
    S,
    batch,
    frame,
    numeric,
    packet,
)

from asepsis.core.errors import InputError, NotFound
from asepsis.core.journal.ports import Append, Link
from asepsis.core.mapping.fhir_bundle import numerics_to_bundle
from asepsis.core.mapping.fhir_numeric import Origin
from asepsis.core.mapping.fhir_search import device_resource, metric_resource, searchset
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.model.observation import MeasurementStatus
from asepsis.core.model.time import UNSYNCHRONISED_MS
from asepsis.core.wire import fhir_codec
from asepsis.core.wire.fhir_types import Identifier
from asepsis.core.wire.message_record import (
    KIND_GROUP,
    MessageFindings,
    MessagePeer,
    encode_group,
)
from asepsis.hub.records import queries
from asepsis.hub.records.rules import FOREVER_NS

A, B = "HOSPITAL|1111", "HOSPITAL|2222"


def claim(patient: str, start_ns: int, end_ns: int = FOREVER_NS, device: str = MONITOR) -> Any:
    return queries.ClaimMessage(device=device, patient=patient, start_ns=start_ns, end_ns=end_ns)


def shown(page: queries.Page) -> list[dict[str, Any]]:
    found = json.loads(page.body)
    return [entry["resource"] for entry in found.get("entry", [])]


def numbers(page: queries.Page) -> list[int]:
    return [each["valueQuantity"]["value"] for each in shown(page)]


def patient_of(resource: dict[str, Any]) -> str | None:
    identifier = resource["subject"].get("identifier")
    return identifier and identifier["value"]


def minutes(house: House, values: int = 10) -> None:
    """Feed one value each ten seconds: 0, 1, 2...; clocks are exact."""
    for n in range(values):
        at_ns = START + 10 * n * S
        house.take(batch(n + 1, at_ns, [numeric(n)], uncertainty_ms=0))


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_search_by_patient_gives_exactly_the_interval(house: House, *, on_disk: bool) -> None:
    """Goal: a bed changes hands; each value is one patient's or nobody's."""
    minutes(house)
    if on_disk:
        house.keeper.flush(everything=True)
    claims = (claim(A, START + 10 * S, START + 40 * S), claim(B, START + 60 * S))
    first = house.find(claims=claims, patient=A, show_patients=True)
    assert numbers(first) == [1, 2, 3]
    assert {patient_of(r) for r in shown(first)} == {"1111"}
    assert first.patients == (A,)
    second = house.find(claims=claims, patient=B, show_patients=True)
    assert numbers(second) == [6, 7, 8, 9]
    whole = house.find(claims=claims, show_patients=True)
    assert [patient_of(r) for r in shown(whole)] == [None, *["1111"] * 3, None, None, *["2222"] * 4]
    assert whole.patients == (A, B)


def test_who_may_not_see_patients_sees_devices(house: House) -> None:
    minutes(house)
    page = house.find(claims=(claim(A, 0),), show_patients=False)
    assert {patient_of(r) for r in shown(page)} == {None}
    assert {r["subject"]["reference"][:7] for r in shown(page)} == {"Device/"}
    assert page.patients == ()


def test_an_uncertain_clock_leaves_out_the_edges(house: House) -> None:
    for n in range(6):
        house.take(batch(n + 1, START + n * S, [numeric(n)], uncertainty_ms=1_500))
    found = house.find(claims=(claim(A, START, START + 5 * S),), patient=A)
    assert numbers(found) == [2, 3]


def test_an_unset_clock_that_is_far_off_charts_to_nobody(house: House) -> None:
    """Goal: a monitor that believes it is yesterday charts nothing to yesterday's patient."""
    wrong = batch(
        1, START - DAY, [numeric(60)], uncertainty_ms=UNSYNCHRONISED_MS, received_ns=START
    )
    house.take(wrong)
    claims = (claim(A, START - 2 * DAY, START - MINUTE), claim(B, START - MINUTE))
    for patient in (A, B):
        assert shown(house.find(claims=claims, patient=patient)) == []
    (resource,) = shown(house.find(claims=claims, show_patients=True))
    assert patient_of(resource) is None
    assert {"system": "urn:asepsis:record", "code": "clock"} in resource["meta"]["tag"]


def test_what_was_held_back_says_so(house: House) -> None:
    """Goal: a batch that somebody kept for a minute is no live value and is not called one."""
    house.take(batch(1, START, [numeric(60)], received_ns=START + MINUTE))
    (resource,) = shown(house.find())
    codes = {tag["code"] for tag in resource["meta"]["tag"]}
    assert codes == {"device-origin", "held-back"}


@pytest.mark.parametrize("seed", range(5))
def test_pages_are_complete_and_hold_nothing_twice_while_data_arrives(
    house: House, seed: int
) -> None:
    """Goal: what was there when the first page was asked for comes once, in order."""
    rng = random.Random(seed)
    sent = list(range(1, 200))
    rng.shuffle(sent)
    there, coming = sorted(sent[:120]), sent[120:]
    house.take(*(batch(n, START + n * S, [numeric(n), numeric(n, handle=2)]) for n in there))
    found: list[int] = []
    ids: set[str] = set()
    cursor = ""
    for _ in range(100):
        page = house.find(count=rng.randint(1, 30), cursor=cursor)
        found += numbers(page)
        ids |= {r["id"] for r in shown(page)}
        links = {link["relation"]: link["url"] for link in json.loads(page.body)["link"]}
        for n in coming[:5]:
            house.clock.now_ns += S
            house.take(
                batch(n, START + n * S, [numeric(n)], lane=Lane.LATE,
                      received_ns=house.clock.now_ns)
            )  # fmt: skip
        del coming[:5]
        if rng.random() < 0.2:
            house.keeper.flush(everything=True)
        if "next" not in links:
            break
        cursor = links["next"].partition("_cursor=")[2]
    assert found == [n for n in there for _ in range(2)]
    assert len(ids) == 240


def test_a_page_of_nothing_says_where_to_go_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: a search that finds one value in a thousand minutes is cut, and ends all the same."""
    monkeypatch.setattr("asepsis.hub.records.search.SCAN_ROWS_MAX", 5)
    for n in range(40):
        code = SATURATION if n == 33 else HEART_RATE
        house.take(batch(n + 1, START + n * MINUTE, [numeric(n, code=code)]))
    cursor, pages, found = "", 0, []
    while True:
        page = house.find(codes=(SATURATION,), cursor=cursor)
        found += numbers(page)
        pages += 1
        links = {link["relation"]: link["url"] for link in json.loads(page.body)["link"]}
        if "next" not in links:
            break
        cursor = links["next"].partition("_cursor=")[2]
    assert found == [33]
    assert pages > 3


@pytest.mark.parametrize("cursor", ["x", "AAAA", "kgHA", "k" * 2_000, "kpMBog"])
def test_a_cursor_that_is_none_is_refused(house: House, cursor: str) -> None:
    with pytest.raises(InputError):
        house.find(cursor=cursor)


def test_only_promised_frames_are_the_devices_own(house: House) -> None:
    """Goal: with the network compartment taken, no forged sample stands in the record."""
    own, forged = frame(1, START, [1, 2, 3]), frame(2, START + S, [9, 9, 9])
    house.take(
        packet(1, [own, forged], received_ns=START + 2 * S),
        batch(1, START, [numeric(60)], promised=[own]),
    )
    scope: dict[str, Any] = {"from_ns": START - S, "to_ns": START + MINUTE}
    for _ in range(2):
        (resource,) = shown(house.find("waveforms", **scope))
        assert resource["valueSampledData"]["data"] == "1 2 3"
        house.keeper.flush(everything=True)
    alone = shown(house.find("waveforms", devices=(PUMP,), **scope))
    assert alone == []
    unsigned = shown(house.find("waveforms", unsigned=(MONITOR,), **scope))
    tags = [[t["code"] for t in r["meta"]["tag"]] for r in unsigned]
    assert tags == [["device-origin"], ["source-claimed"]]


def test_a_promise_that_comes_late_proves_what_is_there(house: House) -> None:
    """Goal: after an outage batch and packet come in any order, hours apart."""
    own = frame(1, START, [1, 2, 3])
    house.take(packet(1, [own], received_ns=START + S))
    house.keeper.flush(everything=True)
    scope: dict[str, Any] = {"from_ns": START - S, "to_ns": START + MINUTE}
    assert shown(house.find("waveforms", **scope)) == []
    later = START + 7_200 * S
    house.take(
        batch(1, START - 9 * S, [numeric(60)], lane=Lane.LATE, received_ns=later, promised=[own])
    )
    assert len(shown(house.find("waveforms", **scope))) == 1


def bundle(sequence: int, at_ns: int, value: int, *, names_batch: bool) -> Append:
    made = numerics_to_bundle(
        [numeric(value)],
        Origin(device=DeviceId(MONITOR), start_ns=at_ns),
        epoch=3,
        sequence=sequence,
    ).value
    import msgspec  # noqa: PLC0415 - only to change what our own mapping writes

    name = f"3/{sequence}" if names_batch else "x"
    made = msgspec.structs.replace(made, identifier=Identifier(value=name))
    body = fhir_codec.encode(made)
    return Append(
        lane=Lane.VITALS, account=Account.FHIR, producer=MONITOR, epoch=3, sequence=sequence,
        kind="fhir-bundle", body=body, received_at_ns=at_ns + S, link=Link.of(body),
    )  # fmt: skip


def test_a_bundle_beside_a_batch_is_not_a_second_value(house: House) -> None:
    """Goal: one measurement that came in two forms is one; alone, a bundle counts."""
    house.take(bundle(1, START, 60, names_batch=True), batch(1, START, [numeric(60)]))
    house.take(bundle(2, START + S, 61, names_batch=False))
    house.take(bundle(3, START + 2 * S, 62, names_batch=True))
    page = house.find()
    assert numbers(page) == [60, 61, 62]
    tags = [r["meta"]["tag"][0]["code"] for r in shown(page)]
    assert tags == ["device-origin", "device-certificate", "device-certificate"]


def oru(sequence: int, written: str, value: int, *, received_ns: int) -> Append:
    """Return a group with one PCD-01 message of a legacy monitor in Berlin."""
    row = f"OBX|1|NM|147842^MDC_ECG_HEART_RATE^MDC|1.7.4.147842|{value}|264864^X^MDC|||||R"
    message = f"MSH|^~\\&|MON|ICU|||{written}||ORU^R01^ORU_R01|{sequence}|P|2.6\rPID|||1\r"
    message += f"{row}|||{written}||||ONE\r"
    peer = MessagePeer("monitor", "Europe/Berlin", ((b"ONE", MONITOR),))
    body = encode_group([(MessageFindings(peer, 60, received_ns), message.encode())])
    return Append(
        lane=Lane.MESSAGE, account=Account.MESSAGE, producer="urn:uuid:x", epoch=1,
        sequence=sequence, kind=KIND_GROUP, body=body, received_at_ns=received_ns,
        link=Link.of(body),
    )  # fmt: skip


def test_messages_of_a_gateway_stand_in_the_record(house: House) -> None:
    """Goal: a legacy monitor's numbers are there, called what they are, charted only if sure."""
    at_ns = START // S * S
    written = time.strftime("%Y%m%d%H%M%S+0000", time.gmtime(at_ns // S))
    house.take(
        oru(1, written, 61, received_ns=at_ns + 2 * S),
        oru(2, written, 62, received_ns=at_ns + 600 * S),
    )
    page = house.find(claims=(claim(A, at_ns - S, at_ns + 60 * S),), show_patients=True)
    assert numbers(page) == [61, 62]
    assert [patient_of(r) for r in shown(page)] == ["1111", None]
    assert [r["meta"]["tag"][0]["code"] for r in shown(page)] == ["source-claimed"] * 2


def test_the_hour_that_clocks_repeat_charts_to_nobody_in_doubt(house: House) -> None:
    """Goal: 02:30 in October is two moments; a patient who was there for one gets nothing."""
    first_ns = 1_792_888_200 * S  # 2026-10-25T00:30:00Z = 02:30 summer time.
    house.clock.now_ns = first_ns
    house.take(oru(1, "20261025023000", 61, received_ns=first_ns + 3_600 * S + 2 * S))
    half = house.find(
        claims=(claim(A, first_ns + 1_800 * S),), to_ns=FOREVER_NS - 1, show_patients=True
    )
    (resource,) = shown(half)
    assert patient_of(resource) is None
    assert "ambiguous-hour" in {t["code"] for t in resource["meta"]["tag"]}
    assert resource["effectiveDateTime"].startswith("2026-10-25T01:30:00")
    whole = house.find(claims=(claim(A, first_ns - S),), to_ns=FOREVER_NS - 1, show_patients=True)
    assert patient_of(shown(whole)[0]) == "1111"


def test_a_message_that_cannot_be_read_is_skipped(house: House) -> None:
    broken = dataclasses.replace(oru(1, "x", 1, received_ns=START), body=b"nonsense")
    house.take(broken)
    assert shown(house.find()) == []
    assert house.keeper.state().skipped == 1


@pytest.mark.parametrize("on_disk", [False, True])
def test_the_newest_of_each_metric_is_found_however_rare(house: House, *, on_disk: bool) -> None:
    """Goal: a blood pressure of hours ago stands beside a heart rate of now."""
    house.take(batch(1, START, [numeric(120, handle=8, code=SATURATION)]))
    house.keeper.flush(everything=True)
    for n in range(3):
        at_ns = START + 5 * 3_600 * S + n * S
        house.take(batch(n + 2, at_ns, [numeric(60 + n), numeric(70 + n, handle=2)]))
    if on_disk:
        house.keeper.flush(everything=True)
    reply = house.keeper.answer(
        queries.LastN(scope=house.scope(), n=1, self_url="https://h/fhir/Observation/$lastn")
    )
    assert isinstance(reply, queries.Page)
    assert sorted(numbers(reply)) == [62, 72, 120]
    two = house.keeper.answer(
        queries.LastN(scope=house.scope(codes=(HEART_RATE,)), n=2, self_url="https://h/fhir/x")
    )
    assert isinstance(two, queries.Page)
    assert numbers(two) == [62, 61, 72, 71]


@pytest.mark.parametrize("seed", range(6))
def test_the_newest_are_those_of_the_whole(house: House, seed: int) -> None:
    """Goal: the short way to the newest values gives what sorting all of them gives."""
    rng = random.Random(seed)
    whole: dict[int, list[tuple[int, int]]] = {}
    for n in rng.sample(range(1, 150), 100):
        at_ns, numerics = START + n * S, []
        for handle in rng.sample(range(1, 6), rng.randint(1, 4)):
            offset_ms = rng.choice([0, 0, 300, 40_000])
            numerics.append(numeric(n, handle=handle, offset_ms=offset_ms))
            whole.setdefault(handle, []).append((at_ns + offset_ms * 1_000_000, n))
        house.take(batch(n, at_ns, numerics))
        if rng.random() < 0.1:
            house.keeper.flush(everything=True)
    for n in (1, 3):
        question = queries.LastN(scope=house.scope(), n=n, self_url="https://h/fhir/x")
        reply = house.keeper.answer(question)
        assert isinstance(reply, queries.Page)
        found: dict[str, list[int]] = {}
        for each in shown(reply):
            handle = each["device"]["reference"].rpartition("-")[2]
            found.setdefault(handle, []).append(each["valueQuantity"]["value"])
        for handle, all_of_it in whole.items():
            newest = sorted(all_of_it, reverse=True)[:n]
            assert found[str(handle)] == [value for _, value in newest]


def test_the_newest_of_a_patient_is_of_his_interval(house: House) -> None:
    minutes(house)
    claims = (claim(A, START, START + 35 * S), claim(B, START + 50 * S))
    scope = house.scope(claims=claims, patient=A, from_ns=START, to_ns=START + 35 * S)
    reply = house.keeper.answer(queries.LastN(scope=scope, n=1, self_url="https://h/fhir/x"))
    assert isinstance(reply, queries.Page)
    assert numbers(reply) == [3]


def trend(house: House, **changes: Any) -> tuple[tuple[int, float | None], ...]:
    fields: dict[str, Any] = {
        "device": MONITOR, "mdc_code": HEART_RATE, "handle": None, "from_ns": START,
        "to_ns": START + DAY // 36, "points_max": 100, **changes,
    }  # fmt: skip
    reply = house.keeper.answer(queries.Trend(**fields))
    assert isinstance(reply, queries.Points)
    return reply.points


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_trend_keeps_every_peak_and_every_gap(house: House, *, on_disk: bool) -> None:
    """Goal: a fall of one second in forty minutes is on the chart; a lead off is a gap."""
    for n in range(2_400):
        off = 1_000 <= n < 1_200
        value = 40 if n == 1_701 else 80
        status = MeasurementStatus.NOT_AVAILABLE if off else MeasurementStatus.VALID
        house.take(
            batch(n + 1, START + n * S, [numeric(5, handle=3), numeric(value, status=status)])
        )
    if on_disk:
        house.keeper.flush(everything=True)
    points = trend(house, handle=1)
    assert len(points) <= 100
    assert (START + 1_701 * S, 40.0) in points
    assert any(value is None for _, value in points)
    assert [t for t, _ in points] == sorted(t for t, _ in points)
    gaps = [t for t, value in points if value is None]
    assert all(START + 1_000 * S <= t < START + 1_200 * S for t in gaps)


def test_a_trend_of_a_patient_is_the_search_of_that_patient(house: House) -> None:
    """Goal: the fast way and the plain way say the same of every value, on disk and in memory."""
    rng = random.Random(5)
    for n in range(400):
        uncertainty = rng.choice([0, 10, 3_000, UNSYNCHRONISED_MS])
        at_ns = START + n * S
        received_ns = at_ns + rng.choice([50_000_000, 20 * S])
        house.take(
            batch(n + 1, at_ns, [numeric(n)], uncertainty_ms=uncertainty, received_ns=received_ns)
        )
    claims = (
        claim(A, START + 50 * S, START + 150 * S),
        claim(B, START + 140 * S, START + 200 * S),
        claim(A, START + 210 * S, START + 390 * S),
    )
    expected = numbers(house.find(claims=claims, patient=A))
    for _ in range(2):
        points = trend(house, patient=A, claims=claims, points_max=1_000)
        assert [value for _, value in points] == expected
        house.keeper.flush(everything=True)
    assert 100 < len(expected) < 290


def test_a_trend_of_a_metric_that_was_never_seen_is_not_found(house: House) -> None:
    minutes(house)
    with pytest.raises(NotFound):
        trend(house, mdc_code=SATURATION)
    with pytest.raises(InputError):
        trend(house, handle=1, to_ns=START + 9 * DAY)


def test_known_devices_and_metrics(house: House) -> None:
    made = [frame(1, START)]
    house.take(
        batch(1, START, [numeric(1), numeric(2, handle=2)], promised=made),
        packet(1, made, received_ns=START + S),
    )
    for _ in range(2):
        names = house.keeper.answer(queries.Known())
        metrics = house.keeper.answer(queries.Known(device=MONITOR))
        assert isinstance(names, queries.KnownAnswer)
        assert isinstance(metrics, queries.KnownAnswer)
        assert names.devices == (MONITOR,)
        assert [(m.wave, m.handle) for m in metrics.metrics] == [
            (False, 1),
            (False, 2),
            (True, 101),
        ]
        house.keeper.flush(everything=True)


def findings(text: bytes) -> list[str]:
    """Return what two judges of other makers find wrong."""
    body = json.loads(text)
    found = [str(issue) for issue in fhirkit.validate(body)]
    get_fhir_model_class(body["resourceType"]).model_validate(body)
    return found


def test_what_searches_answer_is_fhir_to_others(house: House) -> None:
    """Goal: fhirkit and fhir.resources take every page, each resource with its profile."""
    made = [frame(1, START)]
    odd = [numeric(0x007FFFFF), numeric(5, handle=2, status=MeasurementStatus.TEST)]
    house.take(
        batch(1, START, odd, promised=made),
        packet(1, made, received_ns=START + S),
        batch(2, START + S, [numeric(60)], lane=Lane.LATE, received_ns=START + 9 * S),
    )
    shows: dict[str, Any] = {"claims": (claim(A, 0),), "show_patients": True}
    pages = [
        house.find(count=2, **shows).body,
        house.find("waveforms", from_ns=START, to_ns=START + S).body,
        house.find(devices=(PUMP,)).body,
    ]
    device = DeviceId(MONITOR)
    resources = [
        device_resource(device, model="PM 1", active=True),
        device_resource(DeviceId.from_udi("00012345678905", "1"), model="", active=False),
        metric_resource(device, handle=1, mdc_code=HEART_RATE, unit_code=264864, is_waveform=False),
    ]
    pages.append(
        fhir_codec.encode(searchset(resources, self_url="https://h/fhir/Device", next_url=None))
    )
    for page in pages:
        assert findings(page) == []
        for entry in json.loads(page).get("entry", []):
            assert findings(json.dumps(entry["resource"]).encode()) == []


def test_late_values_of_an_expired_minute_are_dropped_quietly(house: House) -> None:
    house.clock.now_ns = START + 31 * DAY
    old = dataclasses.replace(batch(1, START - DAY, [numeric(1)]), lane=Lane.LATE)
    house.take(dataclasses.replace(old, received_at_ns=house.clock.now_ns))
    assert shown(house.find()) == []
