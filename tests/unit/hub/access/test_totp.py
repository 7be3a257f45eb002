"""One-time codes: the vectors of RFC 6238, drift, single use, and what is shown to people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import NotAuthenticated
from asepsis.hub.access import totp

SECRET = b"12345678901234567890"
NS = 10**9
VECTORS = (
    (59, "94287082"),
    (1_111_111_109, "07081804"),
    (1_111_111_111, "14050471"),
    (1_234_567_890, "89005924"),
    (2_000_000_000, "69279037"),
    (20_000_000_000, "65353130"),
)
"""RFC 6238 appendix B, SHA-1; of its eight digits ours are the last six."""


@pytest.mark.parametrize(("at_s", "expected"), VECTORS)
def test_the_vectors_of_the_rfc(at_s: int, expected: str) -> None:
    step = at_s // totp.STEP_S
    assert totp.code(SECRET, step) == expected[-totp.DIGITS :]
    assert totp.accept(SECRET, expected[-6:], now_ns=at_s * NS, after=0) == step


@given(
    st.binary(min_size=20, max_size=20),
    st.integers(min_value=10, max_value=2**40),
    st.integers(min_value=-4, max_value=4),
)
def test_one_step_of_drift_is_allowed_and_no_more(secret: bytes, present: int, off: int) -> None:
    given_code = totp.code(secret, present + off)
    near = {totp.code(secret, present + one) for one in (-1, 0, 1)}
    now_ns = present * totp.STEP_S * NS
    if given_code in near:
        assert totp.accept(secret, given_code, now_ns=now_ns, after=0) >= present - 1
    else:
        with pytest.raises(NotAuthenticated):
            totp.accept(secret, given_code, now_ns=now_ns, after=0)


@given(st.integers(min_value=10, max_value=2**40))
def test_a_code_counts_once(present: int) -> None:
    now_ns = present * totp.STEP_S * NS
    text = totp.code(SECRET, present)
    used = totp.accept(SECRET, text, now_ns=now_ns, after=0)
    with pytest.raises(NotAuthenticated):
        totp.accept(SECRET, text, now_ns=now_ns, after=used)


@given(st.text(max_size=40))
def test_whatever_is_typed_is_judged(typed: str) -> None:
    good = {totp.code(SECRET, 1_000 + one) for one in (-1, 0, 1)}
    if typed.replace(" ", "") in good:
        return
    with pytest.raises(NotAuthenticated):
        totp.accept(SECRET, typed, now_ns=1_000 * totp.STEP_S * NS, after=0)


def test_a_secret_is_shown_to_type_and_to_read() -> None:
    assert totp.spell(SECRET) == "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ"
    text = totp.uri(SECRET, person="Ana Maria", issuer="St. Vitus")
    assert text.startswith("otpauth://totp/St.%20Vitus:Ana%20Maria?secret=GEZDGNBVGY3TQOJQ")
    assert "period=30" in text
