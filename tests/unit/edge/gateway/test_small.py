"""Goal: the bucket, the findings, the hub's answers and what the gateway may load."""

import logging
import subprocess
import sys

import pytest

from asepsis.core.errors import (
    BackPressure,
    IdentityRevoked,
    InputError,
    LimitExceeded,
    NotPermitted,
    RateLimited,
    Unavailable,
)
from asepsis.edge.gateway.findings import Finding, Findings
from asepsis.edge.gateway.hub_answers import Head, verdict_of
from asepsis.edge.gateway.rate import Bucket

PROBLEM = b'{"title": "x", "status": 403, "code": "%b"}'


def test_a_bucket_lets_a_burst_through_and_then_its_rate() -> None:
    bucket = Bucket(per_s=10, burst=3)
    assert [bucket.wait_s(0.0) for _ in range(3)] == [0, 0, 0]
    assert bucket.wait_s(0.0) == pytest.approx(0.1)
    assert bucket.wait_s(0.1) == 0
    assert bucket.wait_s(0.15) == pytest.approx(0.05)
    assert [bucket.wait_s(100.0) for _ in range(4)] == [0, 0, 0, pytest.approx(0.1)]


def test_findings_are_counted_always_and_logged_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [0]
    findings = Findings(lambda: now[0])
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            findings.note(Finding.FRAMING, "bed", reason="x")
        findings.note(Finding.FRAMING, "other")
        now[0] = 61 * 10**9
        findings.note(Finding.FRAMING, "bed")
    assert findings.counts[Finding.FRAMING, "bed"] == 6
    assert len(caplog.records) == 3


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b"{}", InputError),
        (413, b"{}", LimitExceeded),
        (403, b"{}", NotPermitted),
        (403, PROBLEM % b"ASP-202", IdentityRevoked),
        (404, b"{}", Unavailable),
        (415, b"{}", Unavailable),
        (409, b"{}", Unavailable),
        (429, b"{}", RateLimited),
        (500, b"oops", Unavailable),
        (503, b"{}", BackPressure),
        (301, b"", Unavailable),
        (0, b"", Unavailable),
    ],
)
def test_what_an_answer_of_the_hub_means(status: int, body: bytes, kind: type[Exception]) -> None:
    head = Head(b"HTTP/1.1 %03d x\r\nRetry-After: 7" % status)
    assert type(verdict_of(head, body, count=1)) is kind


def test_which_messages_of_a_batch_are_refused() -> None:
    head = Head(b"HTTP/1.1 200 OK")
    assert verdict_of(head, b'{"stored": 3, "refused": []}', count=3) == {}
    one = b'{"stored": 2, "refused": [{"sequence": 7, "index": 1, "code": "x", "detail": "why"}]}'
    found = verdict_of(head, one, count=3)
    assert isinstance(found, dict)
    assert str(found[7, 1]) == "why"
    for wrong in (one, b"{}", b"[]", b"x", b'{"stored": "n", "refused": [1]}'):
        assert isinstance(verdict_of(head, wrong, count=9), Unavailable)


def test_the_gateway_process_loads_core_edge_msgspec_and_the_standard_library() -> None:
    script = (
        "import sys, asepsis.edge.gateway.app;"
        "print(*sorted({m.split('.')[0] for m in sys.modules}));"
        "print(*sorted(m for m in sys.modules if m.startswith('asepsis.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    roots, ours = (set(line.split()) for line in done.stdout.splitlines())
    foreign = {r for r in roots - set(sys.stdlib_module_names) if not r.startswith("_")}
    # msgspec loads typing_extensions where it is installed, and works without it.
    assert foreign <= {"asepsis", "msgspec", "typing_extensions", "sitecustomize"}
    assert {m for m in ours if m.count(".") == 1} == {"asepsis.core", "asepsis.edge"}
