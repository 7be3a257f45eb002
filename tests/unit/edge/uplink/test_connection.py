"""What the hub's refusals mean to a device."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core import errors
from asepsis.edge.uplink.connection import refusal
from asepsis.hub.web.problems import problem

REQUESTED = st.integers(300, 599)


def kinds() -> list[type[errors.AsepsisError]]:
    found: list[type[errors.AsepsisError]] = [errors.AsepsisError]
    for kind in found:
        found += kind.__subclasses__()
    return [kind for kind in found if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.code)
def test_a_device_reacts_to_what_the_hub_meant(kind: type[errors.AsepsisError]) -> None:
    """Goal: keep and try again, or never again, or alarm: the hub's own word survives the wire."""
    meant = kind("because")
    sent = problem(meant)
    retry_after = dict(sent.headers).get(b"retry-after")
    got = refusal(sent.status, sent.body, retry_after.decode() if retry_after else None)
    if isinstance(meant, errors.TransientError) or sent.status == 500:
        assert isinstance(got, errors.TransientError)
    elif isinstance(meant, errors.TrustError):
        assert isinstance(got, errors.TrustError)
        if kind in {errors.IdentityRevoked, errors.IdentityExpired, errors.ChainBroken}:
            assert type(got) is kind
    else:
        assert isinstance(got, errors.InputError)
    assert "because" in str(got) or sent.status == 500


@given(REQUESTED, st.binary(max_size=300), st.none() | st.text(max_size=30))
def test_any_answer_is_some_deliberate_error(
    status: int, body: bytes, retry_after: str | None
) -> None:
    got = refusal(status, body, retry_after)
    if isinstance(got, errors.TransientError):
        assert 1 <= got.retry_after_s <= 3_600
    assert (status >= 500 or status == 429) == isinstance(got, errors.TransientError)


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe", b"[]", b"null", b'{"detail": []}']
)
def test_an_odd_problem_document_is_still_its_status(body: bytes) -> None:
    """Goal: nothing that the hub sends ends a lane's thread."""
    assert type(refusal(422, body, None)) is errors.ContentMismatch


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        (None, 1),
        ("", 1),
        ("0", 1),
        ("7", 7),
        ("-7", 1),
        ("99999999999999999999", 3_600),
        ("9" * 5_000, 3_600),
        ("\u0667", 1),
        ("²", 1),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 1),
    ],
)
def test_a_wait_is_a_second_to_an_hour(retry_after: str | None, seconds: int) -> None:
    got = refusal(503, b"", retry_after)
    assert isinstance(got, errors.TransientError)
    assert got.retry_after_s == seconds


@given(st.sampled_from([403, 409, 422]), st.text(max_size=2_000))
def test_what_is_repeated_of_the_hubs_words_is_short(status: int, detail: str) -> None:
    got = refusal(status, json.dumps({"detail": detail}).encode(), None)
    assert len(str(got)) < 300
