"""Every message in tests/corpus/hl7 is refused with an error of ours, and only with such a one."""

from pathlib import Path

import pytest

from asepsis.core.errors import InputError
from asepsis.core.wire.hl7 import Header, Message, MessageReader

CORPUS = Path(__file__).parents[3] / "corpus" / "hl7"
FILES = sorted(CORPUS.glob("*.hl7"))
GOOD = b"MSH|^~\\&|A|B|C|D|20261103||ADT^A01|7|P|2.6\rPID|||4711||Muster^Eva\r"


def test_the_corpus_is_complete() -> None:
    assert len(FILES) == 44


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_bad_message_is_refused(path: Path) -> None:
    with pytest.raises(InputError):
        Message.parse(path.read_bytes())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_bad_message_is_refused_after_a_good_one(path: Path) -> None:
    """Goal: shapes kept from good messages never let a bad one through."""
    reader = MessageReader()
    reader.parse(GOOD)
    with pytest.raises(InputError):
        reader.parse(path.read_bytes())
    assert reader.parse(GOOD).get("PID-5.2") == "Eva"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_salvaging_a_header_gives_a_header_or_our_error(path: Path) -> None:
    try:
        header = Header.salvage(path.read_bytes())
    except InputError:
        return
    assert header.raw(1) == b"|"


def test_refusals_name_no_content() -> None:
    """Goal: error texts go into logs, so no patient data may stand in them."""
    for path in FILES:
        with pytest.raises(InputError) as caught:
            Message.parse(path.read_bytes())
        for word in ("4711", "Muster", "Eva", "0815", "second line"):
            assert word not in f"{caught.value} {caught.value.hint}"
