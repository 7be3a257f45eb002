"""Names of devices and systems: one spelling each, and a UDI is more than a model."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import InputError
from asepsis.core.model.identity import NAME_CHARS_MAX, DeviceId, parse_system_name

# Numbers with a check digit that others computed: GS1's own example 0061414 1 00041 2 in its
# forms GTIN-12 and GTIN-14, and two ISBN-13, whose check digit is that of GTIN-13.
REAL_GTINS = ("00614141000418", "10614141000415", "09780131103627", "09783161484100")
SERIALS = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=20)
DIGITS = st.text(string.digits, min_size=13, max_size=13)


def check_digit(first13: str) -> str:
    """Return the check digit by the other way of counting: from the right (GS1 7.9)."""
    odd = sum(map(int, first13[::-1][0::2])) * 3
    even = sum(map(int, first13[::-1][1::2]))
    return str(-(odd + even) % 10)


@given(st.integers(0, 2**64 - 1))
def test_an_eui64_comes_back(eui64: int) -> None:
    made = DeviceId.from_eui64(eui64)
    assert DeviceId.parse(made.uri) == made
    assert int(str(made).rpartition(":")[2], 16) == eui64


@pytest.mark.parametrize("eui64", [-1, 2**64])
def test_an_eui64_has_64_bits(eui64: int) -> None:
    with pytest.raises(InputError):
        DeviceId.from_eui64(eui64)


@pytest.mark.parametrize("gtin", REAL_GTINS)
def test_real_gtins_hold(gtin: str) -> None:
    assert DeviceId.from_udi(gtin, "SN-1").uri == f"https://id.gs1.org/01/{gtin}/21/SN-1"


@given(DIGITS, SERIALS)
def test_a_udi_has_one_check_digit(first13: str, serial: str) -> None:
    right = check_digit(first13)
    made = DeviceId.from_udi(first13 + right, serial)
    assert DeviceId.parse(made.uri) == made
    for wrong in set(string.digits) - {right}:
        with pytest.raises(InputError):
            DeviceId.from_udi(first13 + wrong, serial)


@given(DIGITS, st.integers(0, 12), st.sampled_from(string.digits))
def test_one_mistyped_digit_is_found(first13: str, at: int, digit: str) -> None:
    """Goal: GS1's scheme finds every single wrong digit, and so do we."""
    typed = first13[:at] + digit + first13[at + 1 :] + check_digit(first13)
    if digit == first13[at]:
        DeviceId.from_udi(typed, "1")
    else:
        with pytest.raises(InputError):
            DeviceId.from_udi(typed, "1")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "urn:dev:mac:",
        "urn:dev:mac:00112233445566",
        "urn:dev:mac:0011223344556677 ",
        "urn:dev:mac:0011223344556677\n",
        "URN:DEV:MAC:0011223344556677",
        "urn:dev:mac:00112233AABBCCDD",
        "urn:dev:mac:\uff10\uff10\uff11\uff11223344556677",
        "https://id.gs1.org/01/00614141000418",
        "https://id.gs1.org/01/00614141000418/21/",
        "https://id.gs1.org/01/00614141000418/21/" + "a" * 21,
        "https://id.gs1.org/01/00614141000418/21/a/b",
        "https://id.gs1.org/01/00614141000418/21/a%20b",
        "https://id.gs1.org/01/00614141000418/21/a\n",
        "https://id.gs1.org/01/\u0660\u0660\u0666\u0661\u0664\u0661\u0664\u0661\u0660\u0660\u0660\u0664\u0661\u0668/21/a",
        "http://id.gs1.org/01/00614141000418/21/a",
        "https://id.gs1.org.example/01/00614141000418/21/a",
        "urn:uuid:00000000-0000-4000-8000-000000000001",
        "urn:dev:mac:" + "0" * 200,
    ],
)
def test_what_is_no_device_name(name: str) -> None:
    """Goal: REQ-ID-001, REQ-ID-002: another spelling is another name, and a DI is no device."""
    with pytest.raises(InputError):
        DeviceId.parse(name)


@given(st.text(max_size=NAME_CHARS_MAX + 10))
def test_any_text_is_a_canonical_name_or_refused(text: str) -> None:
    try:
        made = DeviceId.parse(text)
    except InputError:
        return
    assert made.uri == text
    assert text.isascii()


@given(st.uuids())
def test_a_system_is_named_by_a_uuid_in_lower_case(uuid: object) -> None:
    name = f"urn:uuid:{uuid}"
    assert parse_system_name(name) == name
    for wrong in (name + "\n", str(uuid), name.replace("-", ""), name.replace("urn:", "URN:")):
        with pytest.raises(InputError):
            parse_system_name(wrong)


def test_names_are_ordered_as_their_text() -> None:
    names = [DeviceId.from_eui64(n) for n in (3, 1, 2)]
    assert sorted(names) == [DeviceId.from_eui64(n) for n in (1, 2, 3)]
