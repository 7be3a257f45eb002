"""Checks of answers, consumers and streams of a hub: REQ-ERR, REQ-SUB."""

import base64
import time
from typing import Final
from urllib.parse import quote

from asepsis.core.model.alarm import AlarmPhase
from asepsis.tools.conformance.bench import ALARM, BATCH, HubBench, problem
from asepsis.tools.conformance.checks import TOO_MANY, demand, table
from asepsis.tools.conformance.hub_alarms import document
from asepsis.tools.conformance.live import events
from asepsis.tools.conformance.source import condition, numeric

SOON_S: Final = 5.0
STALE_S: Final = 9.0
"""Period of a numeric, 5 s, and what a busy network takes."""
FLOOD: Final = 400
UNKNOWN: Final = "urn:dev:mac:02fffffffffffffd"
FIRST, SECOND = 0xE0, 0xE1


def written(bench: HubBench) -> None:
    """What a 2xx answered for can be read back from the journal at once."""
    batch = bench.source().values()
    bench.accept("signing", "/origin", batch, BATCH)
    bench.stored("vitals", batch)


def idempotent(bench: HubBench) -> None:
    """A repeated write is acknowledged again and stored once; other bytes are not."""
    source = bench.source()
    twin, batch = source.twin(), source.values()
    for _ in range(2):
        bench.accept("signing", "/origin", batch, BATCH)
    encoded = base64.b64encode(batch).decode()
    times = sum(record["body"] == encoded for record in bench.records("vitals"))
    demand(times == 1, f"a batch that was sent twice is stored {times} times")
    answer = bench.post("signing", "/origin", twin.values([numeric(99)]), BATCH)
    demand(answer.status_code >= 400, "other bytes under a used number are acknowledged")


def problems(bench: HubBench) -> None:
    """Every error is a problem document with a code."""
    client = bench.client("signing")
    for answer in (
        client.get("/nothing-here"),
        client.post("/origin", content=b"no batch", headers=BATCH),
        client.post("/origin", content=b"", headers={"Content-Type": "text/plain"}),
        bench.client(None, "people").get("/api/devices"),
    ):
        demand(answer.status_code >= 400, f"{answer.request.url.path} is no error")
        problem(answer)


def back_off(bench: HubBench) -> None:
    """Too many writes get 429 with Retry-After, and the lane goes on afterwards."""
    source, client = bench.rebooted("other"), bench.client("other")
    batch = source.values()
    for _ in range(FLOOD):
        answer = client.post("/origin", content=batch, headers=BATCH)
        if answer.status_code == TOO_MANY:
            demand("retry-after" in answer.headers, "429 without Retry-After")
            problem(answer)
            time.sleep(min(float(answer.headers["retry-after"]) + 0.5, 10.0))
            bench.accept("other", "/origin", source.values(), BATCH)
            return
    demand(False, f"{FLOOD} writes at once are taken")


def nothing_revealed(bench: HubBench) -> None:
    """A gateway gets the same answer for a device that exists and one that does not."""
    answers = [
        bench.post(
            "gateway", "/alerts", document(name, [(9, "onset")]), bench.numbered("gateway", ALARM)
        )
        for name in (bench.name("plain"), UNKNOWN)
    ]
    told = {(a.status_code, problem(a)["code"]) for a in answers}
    demand(len(told) == 1, f"the answers differ: {sorted(told)}")


def comes_again(bench: HubBench) -> None:
    """What a consumer did not commit comes again; what it committed does not."""
    client, name = bench.client("consumer"), quote(bench.name("consumer"))
    bench.accept("signing", "/origin", bench.source().values(), BATCH)
    ask = {"lane": "vitals", "max": 1000, "wait_s": 1}
    json = {"Accept": "application/json"}
    pulls = [
        client.get(f"/consumers/{name}/batch", params=ask, headers=json).json()["records"]
        for _ in range(2)
    ]
    demand(pulls[0] and pulls[0][0] == pulls[1][0], "what was not committed does not come again")
    last = pulls[1][-1]["position"]
    client.post(f"/consumers/{name}/commit", json={"lane": "vitals", "position": last})
    after = client.get(f"/consumers/{name}/batch", params=ask, headers=json).json()["records"]
    demand(all(r["position"] > last for r in after), "what was committed comes again")


def resumes(bench: HubBench) -> None:
    """A live view resumes after Last-Event-ID with the alarm events that it missed."""
    source, client = bench.source(), bench.client("consumer")
    path = f"/views/live?device={quote(bench.name('signing'), safe='')}"
    with bench.view(bench.name("signing")) as view:
        bench.accept("signing", "/alerts", source.alarms(condition(FIRST)), BATCH)
        view.wait(
            "alarm",
            lambda e: e["condition_id"].endswith(f"{FIRST:x}"),
            seconds=SOON_S,
            what="an alarm event",
        )
        ids = [position for _, name, position, _ in view.seen if name == "alarm" and position]
    demand(ids, "an alarm event has no id")
    end = AlarmPhase.END
    bench.accept("signing", "/alerts", source.alarms(condition(FIRST, end)), BATCH)
    bench.accept("signing", "/alerts", source.alarms(condition(SECOND)), BATCH)
    bench.accept("signing", "/alerts", source.alarms(condition(SECOND, end)), BATCH)
    with client.stream("GET", path, headers={"Last-Event-ID": ids[-1]}) as answer:
        stream = (data for name, _, data in events(answer.iter_lines()) if name == "alarm")
        missed = [next(stream) for _ in range(3)]
    tails = [(e["condition_id"][-2:], e["phase"]) for e in missed]
    wanted = [("e0", "end"), ("e1", "onset"), ("e1", "end")]
    demand(tails == wanted, f"resumed with {tails}")


def blanked(bench: HubBench) -> None:
    """A value that is not renewed within its period and five seconds is blanked."""
    with bench.view(bench.name("signing")) as view:
        bench.accept("signing", "/origin", bench.source().values(), BATCH)
        view.wait(
            "numerics",
            lambda t: t["device"] == bench.name("signing"),
            seconds=SOON_S,
            what="a value",
        )
        view.wait(
            "stale",
            lambda t: t["device"] == bench.name("signing"),
            seconds=STALE_S,
            what="that a value is stale",
        )


CHECKS: Final = table(
    ("ERR-001", written),
    ("ERR-002", idempotent),
    ("ERR-003", problems),
    ("ERR-007", nothing_revealed),
    ("SUB-001", comes_again),
    ("SUB-002", resumes),
    ("SUB-004", blanked),
    ("ERR-005", back_off),
)
