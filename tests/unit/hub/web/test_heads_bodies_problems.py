"""The pure parts: heads, bodies and problem details."""

import asyncio
import inspect

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core import errors
from asepsis.core.errors import (
    AsepsisError,
    BackPressure,
    FramingError,
    InputError,
    LimitExceeded,
    NotAuthenticated,
    RateLimited,
    UnsupportedMedia,
)
from asepsis.hub.web.asgi import Message, Receive, Scope
from asepsis.hub.web.bodies import bounded_body, media_type, require_media
from asepsis.hub.web.heads import Refusal, Target, judge_head, read_target
from asepsis.hub.web.limits import CLINICAL, Limits
from asepsis.hub.web.problems import STATUS, problem, status_of

ALL = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, AsepsisError)
]
WANTED = {
    "InputError": 400,
    "FramingError": 400,
    "LimitExceeded": 413,
    "UnsupportedMedia": 415,
    "ContentMismatch": 422,
    "NotFound": 404,
    "Conflict": 409,
    "TrustError": 403,
    "IdentityInvalid": 403,
    "IdentityRevoked": 403,
    "IdentityExpired": 403,
    "SignatureInvalid": 403,
    "ChainBroken": 403,
    "NotPermitted": 403,
    "IssuanceRefused": 403,
    "NotAuthenticated": 401,
    "SafetyRefusal": 409,
    "TransientError": 503,
    "BackPressure": 503,
    "RateLimited": 429,
    "Unavailable": 503,
    "ConfigError": 500,
    "AsepsisError": 500,
}


def receiving(*parts: bytes, ends: bool = True) -> Receive:
    events: list[Message] = [
        {"type": "http.request", "body": part, "more_body": not ends or n + 1 < len(parts)}
        for n, part in enumerate(parts)
    ]

    async def receive() -> Message:
        return events.pop(0) if events else {"type": "http.disconnect"}

    return receive


def scope(**headers: str) -> Scope:
    fields = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    return {"type": "http", "headers": fields}


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_class_has_its_status(kind: type[AsepsisError]) -> None:
    """Goal: the whole table, stated a second time; a new class must be thought about."""
    assert status_of(kind("x")) == WANTED[kind.__name__]


def test_the_table_names_no_unknown_class() -> None:
    assert set(STATUS) <= set(ALL)


def test_a_problem_carries_code_detail_hint_and_instance() -> None:
    result = problem(InputError("no unit", hint="send UCUM"), instance="7-3")
    assert msgspec.json.decode(result.body) == {
        "type": "urn:asepsis:problem:asp-100",
        "title": "Bad Request",
        "status": 400,
        "detail": "no unit",
        "code": "ASP-100",
        "retry": False,
        "hint": "send UCUM",
        "instance": "7-3",
    }
    assert (b"content-type", b"application/problem+json") in result.headers


@pytest.mark.parametrize("error", [KeyError("Jane Doe"), errors.ConfigError("Jane Doe")])
def test_an_unplanned_error_tells_nothing(error: Exception) -> None:
    result = problem(error)
    assert result.status == 500
    assert b"Jane" not in result.body


@pytest.mark.parametrize("kind", [BackPressure, RateLimited])
def test_transient_errors_say_when_to_come_back(kind: type[errors.TransientError]) -> None:
    assert (b"retry-after", b"7") in problem(kind("x", retry_after_s=7)).headers
    assert (b"retry-after", b"1") in problem(kind("x", retry_after_s=0)).headers


def test_a_401_names_its_scheme() -> None:
    headers = problem(NotAuthenticated("x"), challenge='Basic realm="est"').headers
    assert (b"www-authenticate", b'Basic realm="est"') in headers


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=10))
def test_a_body_is_the_sum_of_its_parts_or_refused(parts: list[bytes]) -> None:
    """Goal: any chunking gives the same body; one byte over the limit never passes."""
    whole = b"".join(parts)
    assert asyncio.run(bounded_body(receiving(*parts), len(whole))) == whole
    if whole:
        with pytest.raises(LimitExceeded):
            asyncio.run(bounded_body(receiving(*parts), len(whole) - 1))


def test_a_declared_length_is_refused_before_a_byte_is_read() -> None:
    async def never() -> Message:
        raise AssertionError("read")

    with pytest.raises(LimitExceeded):
        asyncio.run(bounded_body(never, 10, scope=scope(content_length="11")))


@pytest.mark.parametrize("text", ["x", "-1", "+1", "1e3", "9" * 19, ""])
def test_a_length_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(FramingError):
        asyncio.run(bounded_body(receiving(b""), 10, scope=scope(content_length=text)))


def test_a_body_that_ends_early_is_no_body() -> None:
    with pytest.raises(FramingError):
        asyncio.run(bounded_body(receiving(b"ab", ends=False), 10))


def test_media_types_are_compared_without_parameters() -> None:
    good = scope(content_type="Application/JSON; charset=utf-8")
    assert media_type(good) == "application/json"
    assert require_media(good, "application/json") == "application/json"
    for bad in (scope(), scope(content_type="text/plain"), scope(content_type="")):
        with pytest.raises(UnsupportedMedia):
            require_media(bad, "application/json")
    packed = scope(content_type="application/json", content_encoding="gzip")
    with pytest.raises(UnsupportedMedia):
        require_media(packed, "application/json")


def test_a_good_head_is_not_refused() -> None:
    headers = [(b"host", b"hub"), (b"content-length", b"5"), (b"expect", b"100-continue")]
    assert judge_head("1.1", headers, body_bytes_max=CLINICAL.body_bytes_max) is None


@given(st.sampled_from(["1.0", "0.9", "2.0", "1.2"]))
def test_other_versions_are_refused(version: str) -> None:
    refusal = judge_head(version, [(b"host", b"hub")], body_bytes_max=CLINICAL.body_bytes_max)
    assert refusal is not None
    assert refusal.status == 505


@pytest.mark.parametrize(
    "name", [b"host", b"content-length", b"transfer-encoding", b"content-type", b"authorization"]
)
def test_a_field_that_counts_is_refused_twice(name: bytes) -> None:
    headers = [(b"host", b"hub"), (name, b"1"), (name, b"1")]
    assert judge_head("1.1", headers, body_bytes_max=CLINICAL.body_bytes_max) is not None


def test_an_encoded_slash_stays_in_its_segment() -> None:
    found = read_target(b"/api/https:%2F%2Fid.gs1.org%2F01?x=%2F")
    assert found == Target(
        "/api/https:%2F%2Fid.gs1.org%2F01", b"/api/https:%2F%2Fid.gs1.org%2F01", b"x=%2F"
    )


@given(st.binary(max_size=60))
def test_any_target_is_read_or_refused(url: bytes) -> None:
    """Goal: no exception but a refusal, and never a control character in a path."""
    found = read_target(url)
    if isinstance(found, Target):
        assert found.path.startswith("/")
        assert "\x00" not in found.path or b"\x00" in url
    else:
        assert isinstance(found, Refusal)


def test_limits_are_above_zero() -> None:
    with pytest.raises(errors.ConfigError):
        Limits(request_s=0)
