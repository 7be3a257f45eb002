"""Dates that a person confirms, receipts that come back, and containers of strangers."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import (
    AsepsisError,
    FramingError,
    LimitExceeded,
    NotFound,
    SafetyRefusal,
    SignatureInvalid,
    TrustError,
)
from asepsis.core.trust import bundle, libcrypto
from asepsis.core.trust.bundle import Member, Receipt

KEY = libcrypto.generate_key()
NOW_S = 1_800_000_000
DAY_S = 86_400
YEAR_S = 365 * DAY_S


def judged(**changed: int | None) -> int:
    given_: dict[str, int | None] = {
        "trusted_s": NOW_S,
        "confirmed_s": None,
        "floor_s": NOW_S - DAY_S,
        "prepared_s": NOW_S - DAY_S,
        "ends_s": NOW_S + DAY_S,
    } | changed
    return bundle.moment(**given_)  # type: ignore[arg-type]


def test_trusted_time_wins_and_a_person_is_asked_only_without_it() -> None:
    assert judged() == NOW_S
    assert judged(confirmed_s=1) == NOW_S
    assert judged(trusted_s=None, confirmed_s=NOW_S + 60) == NOW_S + 60
    with pytest.raises(SafetyRefusal):
        judged(trusted_s=None)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"trusted_s": NOW_S - YEAR_S}, "trusted once"),
        ({"trusted_s": None, "confirmed_s": NOW_S - YEAR_S}, "trusted once"),
        ({"floor_s": 0, "trusted_s": NOW_S - YEAR_S}, "prepared after"),
        ({"trusted_s": NOW_S + DAY_S}, "expired"),
        ({"trusted_s": None, "confirmed_s": NOW_S + YEAR_S}, "expired"),
    ],
    ids=["clock back", "confirmed back", "before the bundle", "ended", "confirmed ahead"],
)
def test_a_wrong_date_is_refused(changed: dict[str, int | None], why: str) -> None:
    with pytest.raises(TrustError, match=why):
        judged(**changed)


RECEIPT = Receipt(
    bundle=b"b" * 32,
    device="urn:dev:mac:0011223344556677",
    counter=3,
    at_ns=NOW_S * 10**9,
    taken=True,
    releases=(b"r" * 32, b"s" * 32),
    reason="ä",
)


def test_a_receipt_is_of_one_device_and_not_changed() -> None:
    signed = bundle.sign_receipt(RECEIPT, KEY)
    assert bundle.read_receipt(signed, spki_der=KEY.spki_der) == RECEIPT
    assert bundle.peek_receipt(signed) == RECEIPT
    with pytest.raises(SignatureInvalid):
        bundle.read_receipt(signed, spki_der=libcrypto.generate_key().spki_der)
    for place in range(len(signed)):
        changed = signed[:place] + bytes([signed[place] ^ 1]) + signed[place + 1 :]
        with pytest.raises(AsepsisError):
            bundle.read_receipt(changed, spki_der=KEY.spki_der)
    with pytest.raises(LimitExceeded):
        bundle.read_receipt(bytes(9_000), spki_der=KEY.spki_der)
    with pytest.raises(LimitExceeded):
        bundle.sign_receipt(Receipt(**{**_fields(), "reason": "x" * 256}), KEY)


def _fields() -> dict[str, object]:
    return {name: getattr(RECEIPT, name) for name in RECEIPT.__slots__}


@given(st.binary(max_size=400))
def test_strange_receipts_are_framing_errors(content: bytes) -> None:
    with pytest.raises(FramingError):
        bundle.peek_receipt(content)


@given(st.binary(max_size=300))
def test_strange_containers_are_framing_errors(content: bytes) -> None:
    for whole in (content, bundle.MAGIC + len(content).to_bytes(4, "big") + content):
        with pytest.raises(FramingError):
            bundle.read_index(io.BytesIO(whole))


def test_limits_of_a_container() -> None:
    with pytest.raises(LimitExceeded):
        bundle.read_index(io.BytesIO(bundle.MAGIC + b"\xff" * 4))
    with pytest.raises(LimitExceeded):
        bundle.index_of([Member(f"f{n}", 0, "") for n in range(bundle.FILES_MAX + 1)])
    with pytest.raises(LimitExceeded):
        bundle.index_of([Member("f", bundle.FILE_BYTES_MAX + 1, "")])
    for name in ("../x", "a/../b", "/a", "a//b", "", "a b", ".", "a/."):
        with pytest.raises(FramingError):
            bundle.index_of([Member(name, 0, "")])
    found = bundle.read_index(
        io.BytesIO(bundle.index_of([Member("a", 2, ""), Member("b", 1, "")]) + b"xyz")
    )
    assert found.place("b") == (found.begin + 2, 1)
    with pytest.raises(NotFound):
        found.place("c")
