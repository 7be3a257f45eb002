"""Checks of HL7 v2 messages at a hub: REQ-MSG."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final

import httpx

from asepsis.core.wire.message_record import (
    BatchGroup,
    Found,
    MessageFindings,
    MessagePeer,
    encode_batch,
    encode_group,
)
from asepsis.tools.conformance.bench import HL7, HubBench
from asepsis.tools.conformance.checks import OK, TOO_MANY, demand, table

GROUPS: Final = {"Content-Type": "application/vnd.asepsis.hl7v2-batch"}
SOON_S: Final = 5.0
FLOOD: Final = 2_000
"""Above what a gateway with one declared device may send at once, in any configuration."""
PAST_S: Final = 60.0
HEART_RATE: Final = "147842^MDC_ECG_HEART_RATE^MDC"
CONTROL_IDS: Final = count(1)


def message(device: str = "", *, value: int = 61, ago_s: float = 0.0) -> bytes:
    """Return an ORU^R01 in the shape of PCD-01; OBX-18 names a device if one is given."""
    at = datetime.fromtimestamp(time.time() - ago_s, UTC).strftime("%Y%m%d%H%M%S.000+0000")
    named = word(device) if device else ""
    return (
        f"MSH|^~\\&|MON|ICU|EHR|H|{at}||ORU^R01^ORU_R01|C{next(CONTROL_IDS)}|P|2.6\r"
        f"PID|||1\rOBR|1||||||{at}\r"
        f"OBX|1|NM|{HEART_RATE}|1.1.1.1|{value}|264864^MDC_DIM_BEAT_PER_MIN^MDC"
        f"|||||R|||{at}||||{named}\r"
    ).encode()


def word(device: str) -> str:
    """Return OBX-18 of a device that is named by its EUI-64."""
    eui = device.removeprefix("urn:dev:mac:").upper()
    return f"{eui}^^{eui}^EUI-64"


def group(bench: HubBench, number: int, *bodies: bytes) -> BatchGroup:
    """Return a group of messages as the suite's gateway would have made it durable."""
    legacy = bench.plan.legacy
    peer = MessagePeer("conformance", "UTC", ((word(legacy).encode(), legacy),))
    findings = MessageFindings(peer, 0, time.time_ns(), Found.CLEARTEXT)
    return BatchGroup(number, 0, encode_group([(findings, body) for body in bodies]))


def unchanged(bench: HubBench) -> None:
    """A message stands in the message lane as its original bytes."""
    body = message() + b"ZAS|\xe9 as it came|\r"
    answer = _post(bench, body)
    demand(answer.status_code == OK, f"/hl7v2 answers {answer.status_code}")
    bench.stored("message", body)


def acknowledged(bench: HubBench) -> None:
    """The answer is an HL7 acknowledgement: positive for a message, never for what is none."""
    body = message()
    control = body.split(b"|")[9]
    answer = _post(bench, body)
    demand(
        b"MSA|AA|" + control in answer.content or b"MSA|CA|" + control in answer.content,
        f"the answer is {answer.content[:80]!r}",
    )
    broken = _post(bench, b"MSH|^~\\&|A|B|C|D|1||ORU^R01|X1|P|2.6\rP\x00\r")
    demand(
        b"MSA|AA" not in broken.content and b"MSA|CA" not in broken.content,
        "what is no message is acknowledged",
    )


def gateways_only(bench: HubBench) -> None:
    """A device cannot send messages."""
    bench.refuse("plain", "/hl7v2", message(), bench.under(1, HL7), 403)


def each_by_itself(bench: HubBench) -> None:
    """Of a batch the hub stores the right messages and names the wrong one."""
    good, other = message(), message()
    bad = b"MSH|^~\\&|MON|ICU|||2026||ORU^R01|1|P|2.6\rBAD\x00\r"
    epoch, made = time.time_ns(), group(bench, 1, good, bad, other)
    answer = _batch(bench, epoch, made)
    demand(answer.status_code == OK, f"a batch gets {answer.status_code}")
    demand(answer.json().get("refused"), "the wrong message of a batch is not named")
    again = _batch(bench, epoch, made)
    demand(again.status_code == OK, f"a repeated batch gets {again.status_code}")


def flood(bench: HubBench) -> None:
    """Each message of a batch counts: more than the rate gets 429 with Retry-After."""
    bodies = [message() for _ in range(200)]
    epoch = time.time_ns()
    for number in range(1, FLOOD // len(bodies) + 1):
        answer = _batch(bench, epoch, group(bench, number, *bodies))
        if answer.status_code == TOO_MANY:
            demand("retry-after" in answer.headers, "429 without Retry-After")
            time.sleep(min(float(answer.headers["retry-after"]), 10.0))
            return
        demand(answer.status_code == OK, f"a batch gets {answer.status_code}")
    demand(False, f"{FLOOD} messages at once are taken")


def declared_only(bench: HubBench) -> None:
    """A value is the device's only if it is on the gateway's declared list."""
    declared, foreign = bench.plan.legacy, bench.name("plain")
    with bench.view(declared, foreign) as view:
        peer = MessagePeer(
            "conformance", "UTC", tuple((word(d).encode(), d) for d in (declared, foreign))
        )
        findings = MessageFindings(peer, 0, time.time_ns(), Found.CLEARTEXT)
        body = encode_group([(findings, message(d, value=88)) for d in (foreign, declared)])
        _batch(bench, time.time_ns(), BatchGroup(1, 0, body))
        view.wait(
            "numerics",
            lambda told: told["device"] == declared,
            seconds=SOON_S,
            what="a value of the declared device",
        )
        shown = view.find(
            "numerics",
            lambda told: (
                told["device"] == foreign and any(n["value"] == "88" for n in told["numerics"])
            ),
        )
        demand(shown is None, "a gateway spoke for a device that is not on its list")


def current_only(bench: HubBench) -> None:
    """A value whose own time is long past does not enter a live view."""
    declared = bench.plan.legacy
    with bench.view(declared) as view:
        _batch(bench, time.time_ns(), group(bench, 1, message(declared, value=77, ago_s=PAST_S)))
        _batch(bench, time.time_ns(), group(bench, 1, message(declared, value=78)))
        view.wait("numerics", _holds("78"), seconds=SOON_S, what="a current value")
        demand(view.find("numerics", _holds("77")) is None, "an old value was shown as live")


def _holds(value: str) -> Callable[[Any], bool]:
    return lambda told: any(n["value"] == value for n in told["numerics"])


def _post(bench: HubBench, body: bytes) -> httpx.Response:
    return bench.post("gateway", "/hl7v2", body, bench.numbered("gateway", HL7))


def _batch(bench: HubBench, epoch: int, made: BatchGroup) -> httpx.Response:
    headers = dict(GROUPS) | {"Asepsis-Epoch": str(epoch)}
    return bench.post("gateway", "/hl7v2", encode_batch([made]), headers)


CHECKS: Final = table(
    ("MSG-001", unchanged),
    ("MSG-002", acknowledged),
    ("MSG-003", gateways_only),
    ("MSG-008", each_by_itself),
    ("MSG-011", declared_only),
    ("MSG-012", current_only),
    ("MSG-010", flood),
)
