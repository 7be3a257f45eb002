"""Character sets and escape sequences."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import ContentMismatch, InputError, UnsupportedMedia
from asepsis.core.wire.hl7 import STANDARD, CharsetSource, Delimiters, Message
from asepsis.core.wire.hl7_parts import delimiters_of
from asepsis.core.wire.hl7_text import CODECS, escape, text_of, unescape


def message(name: bytes, msh_18: bytes, *, mark: bytes = b"") -> Message:
    return Message.parse(
        mark + b"MSH|^~\\&|||||||ADT^A01|1|P|2.6||||||" + msh_18 + b"\rPID|||||" + name + b"\r"
    )


@pytest.mark.parametrize(
    ("msh_18", "name", "text", "source"),
    [
        (b"", b"Muster", "Muster", CharsetSource.UNDECLARED),
        (b"", "Jürgen".encode(), "Jürgen", CharsetSource.UNDECLARED),
        (b"ASCII", b"Muster", "Muster", CharsetSource.DECLARED),
        (b"8859/1", "Jürgen".encode("latin-1"), "Jürgen", CharsetSource.DECLARED),
        (b"8859/2", "Dvořák".encode("iso8859-2"), "Dvořák", CharsetSource.DECLARED),
        (b"8859/7", "Ελένη".encode("iso8859-7"), "Ελένη", CharsetSource.DECLARED),
        (b"8859/15", "Œuvre".encode("iso8859-15"), "Œuvre", CharsetSource.DECLARED),
        (b"UNICODE UTF-8", "Ελένη".encode(), "Ελένη", CharsetSource.DECLARED),
        (b"unicode utf-8", "Ελένη".encode(), "Ελένη", CharsetSource.DECLARED),
        (b"UTF-8", "Ελένη".encode(), "Ελένη", CharsetSource.ALIAS),
        (b"ISO-8859-1", "Jürgen".encode("latin-1"), "Jürgen", CharsetSource.ALIAS),
        (b"KS X 1001", "홍길동".encode("euc_kr"), "홍길동", CharsetSource.DECLARED),
        (b"8859/1~UNICODE UTF-8", "é".encode("latin-1"), "é", CharsetSource.DECLARED),
        (b"~ISO IR87", b"Muster", "Muster", CharsetSource.UNDECLARED),
    ],
)
def test_msh_18_decides(msh_18: bytes, name: bytes, text: str, source: CharsetSource) -> None:
    parsed = message(name, msh_18)
    assert parsed.get("PID-5") == text
    assert parsed.character_set.source is source


@pytest.mark.parametrize(
    "msh_18",
    [b"UNICODE UTF-16", b"UNICODE UTF-32", b"GB 18030-2000", b"BIG-5", b"ISO IR87", b"\xff", b"?"],
)
def test_sets_that_are_not_taken(msh_18: bytes) -> None:
    """Goal: bytes stay readable, text is refused, and the hint says what to send."""
    parsed = message(b"Muster", msh_18)
    assert parsed.raw("PID-5") == b"Muster"
    with pytest.raises(UnsupportedMedia) as caught:
        parsed.get("PID-5")
    assert "UNICODE UTF-8" in caught.value.hint


@pytest.mark.parametrize(
    ("msh_18", "name"), [(b"", b"J\xfcrgen"), (b"ASCII", "ü".encode()), (b"UTF-8", b"\xc3")]
)
def test_text_is_never_guessed(msh_18: bytes, name: bytes) -> None:
    with pytest.raises(InputError):
        message(name, msh_18).get("PID-5")


def test_byte_order_mark() -> None:
    parsed = message("ü".encode(), b"", mark=b"\xef\xbb\xbf")
    assert (parsed.get("PID-5"), parsed.character_set.source) == ("ü", CharsetSource.MARK)
    assert message("ü".encode(), b"ASCII", mark=b"\xef\xbb\xbf").get("PID-5") == "ü"
    with pytest.raises(ContentMismatch):
        message(b"u", b"8859/1", mark=b"\xef\xbb\xbf").get("PID-5")


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        (rb"A\F\B\S\C\T\D\R\E\E\F\P\G", b"A|B^C&D~E\\F#G"),
        (rb"\X0D\\X0A\\X41\\XC3A4\\XC3\\XA4\\x41\ ", b"\r\nA\xc3\xa4\xc3\xa4\\x41\\ "),
        (rb"\H\bold\N\ plain", b"bold plain"),
        (
            rb"a\.br\b\.sp\c\.sp2\d\.ce\e\.sk3\f\.in+4\g\.ti-2\h\.fi\i\.nf\j",
            b"a\nb\nc\n\nd\ne   fghij",
        ),
        (rb"\.sp999\ \.sk99999999\ ", rb"\.sp999\ \.sk99999999\ "),
        (rb"C:\temp \T\ x", rb"C:\temp & x"),
        (rb"\Zlocal\ \Q\ \X4\ \XGG\ \ \\", rb"\Zlocal\ \Q\ \X4\ \XGG\ \ \\"),
        (rb"\E\X0D\E\ ", rb"\X0D\ "),
        (rb"open \F", rb"open \F"),
    ],
)
def test_unescape(raw: bytes, plain: bytes) -> None:
    assert unescape(raw, STANDARD) == plain


@pytest.mark.parametrize("raw", [rb"\C2842\ ", rb"\M2442\ ", rb"\M244242\ "])
def test_alternate_sets_are_refused(raw: bytes) -> None:
    with pytest.raises(UnsupportedMedia):
        unescape(raw, STANDARD)


def test_one_character_in_two_escapes() -> None:
    assert text_of(rb"\XC3\\XA4\ ", STANDARD, "utf-8") == "ä "


DELIMITERS = st.permutations(list("|^~\\&#!$%*/:;<=>?@[]{}`'(),")).flatmap(
    lambda marks: st.integers(3, 5).map(
        lambda count: delimiters_of(marks[0].encode(), "".join(marks[1 : count + 1]).encode())
    )
)


@given(st.text(), DELIMITERS)
def test_escape_round_trip(text: str, delimiters: Delimiters) -> None:
    """Goal: any text comes back, and its bytes hold no delimiter and no control byte."""
    try:
        leaf = escape(text, delimiters, "utf-8")
    except InputError:
        assert any(0xD800 <= ord(char) <= 0xDFFF for char in text)  # Lone surrogates.
        return
    assert text_of(leaf, delimiters, "utf-8") == text
    marks = delimiters.field + delimiters.component + delimiters.repetition
    assert not set(leaf) & (set(marks) | set(delimiters.subcomponent) | {0, 0x0A, 0x0B, 0x0D, 0x1C})


@given(st.binary(max_size=200), DELIMITERS, st.sampled_from(sorted(set(CODECS.values()))))
def test_any_bytes_give_text_or_our_error(raw: bytes, delimiters: Delimiters, codec: str) -> None:
    with suppress(InputError):
        text_of(raw, delimiters, codec)


def test_without_an_escape_character() -> None:
    bare = Delimiters(escape=b"", subcomponent=b"")
    assert escape("Tom & Jerry\t\\", bare, "ascii") == b"Tom & Jerry\t\\"
    assert unescape(rb"\F\ ", bare) == rb"\F\ "
    for text in ("a|b", "a^b", "a~b", "a\rb", "a\x7fb"):
        with pytest.raises(InputError):
            escape(text, bare, "ascii")


def test_delimiters_that_leave_out_one_in_the_middle() -> None:
    with pytest.raises(InputError):
        Delimiters(escape=b"")
    with pytest.raises(InputError):
        Delimiters(subcomponent=b"", truncation=b"#")
