"""Reports and certificates of conformance."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.compliance.certificate import verify
from asepsis.core.errors import (
    ContentMismatch,
    IdentityExpired,
    InputError,
    SignatureInvalid,
)
from asepsis.core.trust.libcrypto import generate_key
from asepsis.tools.conformance.certificate import certify
from asepsis.tools.conformance.checks import Outcome, Result
from asepsis.tools.conformance.report import Report, as_html, as_json, as_junit

NOW = datetime(2026, 11, 22, tzinfo=UTC)
PASSED = Result(requirement="REQ-TLS-001", title="Looks.", outcome=Outcome.PASS)
FAILED = Result(
    requirement="REQ-TLS-002",
    title="Looks.",
    outcome=Outcome.FAIL,
    reason="<script>alert(1)</script>\x00",
)
UNSHOWN = replace(PASSED, outcome=Outcome.NOT_SHOWN, reason="nobody may revoke")


def report(*results: Result, whole: bool = True) -> Report:
    return Report(
        subject="hub",
        tested="A <b>hub</b>",
        suite="1",
        at="2026-11-22T00:00:00+00:00",
        results=results,
        unseen={"REQ-ID-022": "it takes days"},
        whole=whole,
    )


@pytest.mark.parametrize(
    ("made", "conforms"),
    [
        (report(PASSED), True),
        (report(PASSED, UNSHOWN), True),
        (report(PASSED, FAILED), False),
        (report(UNSHOWN), False),
        (report(PASSED, whole=False), False),
    ],
)
def test_what_conforms(made: Report, *, conforms: bool) -> None:
    assert made.conforms is conforms
    assert json.loads(as_json(made))["conforms"] is conforms


def test_words_of_a_peer_are_text() -> None:
    page = as_html(report(PASSED, FAILED)).decode()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<b>hub" not in page
    suite = ET.fromstring(as_junit(report(PASSED, FAILED, UNSHOWN)))  # noqa: S314 - our own
    assert suite.attrib["failures"] == "1"
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.attrib["message"] == "<script>alert(1)</script>?"


def test_a_certificate_says_what_the_report_says() -> None:
    key, body = generate_key(), as_json(report(PASSED))
    made = certify(body, key, now=NOW, days=10)
    said = verify(made, spki_der=key.spki_der, now=NOW, report=body)
    assert (said.subject, said.tested) == ("hub", "A <b>hub</b>")
    with pytest.raises(IdentityExpired):
        verify(made, spki_der=key.spki_der, now=NOW + timedelta(days=10))
    with pytest.raises(IdentityExpired):
        verify(made, spki_der=key.spki_der, now=NOW - timedelta(seconds=1))
    with pytest.raises(ContentMismatch):
        verify(made, spki_der=key.spki_der, now=NOW, report=body + b" ")
    with pytest.raises(SignatureInvalid):
        verify(made, spki_der=generate_key().spki_der, now=NOW)


@pytest.mark.parametrize("made", [report(PASSED, FAILED), report(PASSED, whole=False)])
def test_nobody_vouches_for_what_does_not_conform(made: Report) -> None:
    with pytest.raises(ContentMismatch):
        certify(as_json(made), generate_key(), now=NOW)


@pytest.mark.parametrize("days", [0, 3_651])
def test_a_certificate_counts_for_a_bounded_time(days: int) -> None:
    with pytest.raises(InputError):
        certify(as_json(report(PASSED)), generate_key(), now=NOW, days=days)


@given(st.binary(max_size=400))
def test_what_is_no_certificate_is_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        verify(data, spki_der=generate_key().spki_der, now=NOW)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_certificate_is_refused(at: int, change: int) -> None:
    key = generate_key()
    made = bytearray(certify(as_json(report(PASSED)), key, now=NOW))
    made[at % len(made)] ^= change
    with pytest.raises((InputError, SignatureInvalid)):
        verify(bytes(made), spki_der=key.spki_der, now=NOW)
