"""The words of storage commitment: silence about an instance is never a success."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.wire import commitment
from asepsis.core.wire.commitment import REFERENCES_MAX, Reason, Reference, Word

UIDS = st.integers(0, 50).map(lambda number: f"1.2.{number}")
REFERENCES = st.lists(st.builds(Reference, st.just("1.2.840"), UIDS), min_size=1, max_size=20)


@given(REFERENCES, st.data())
def test_an_archives_word_is_about_each_instance_that_was_asked_for(
    references: list[Reference], drawn: st.DataObject
) -> None:
    asked = commitment.references_of(commitment.request("1.9", references))
    assert set(asked) == set(references)
    kept = [each for each in asked if drawn.draw(st.booleans())]
    failed = [(each, 0x0112) for each in asked if each not in kept and drawn.draw(st.booleans())]
    document = commitment.report("1.9", "PACS", Word(kept, failed))
    word = commitment.word_of(document, asked)
    assert list(word.committed) == kept
    assert {each for each, _ in word.failed} == set(asked) - set(kept)
    for each, reason in word.failed:
        assert reason == (0x0112 if (each, 0x0112) in failed else Reason.PROCESSING)
    assert commitment.transaction_of(document) == "1.9"


def test_what_is_listed_twice_has_failed() -> None:
    one = Reference("1.2", "1.3")
    document = commitment.report("1.9", "PACS", Word([one], [(one, 0x0110)]))
    word = commitment.word_of(document, [one])
    assert (list(word.committed), list(word.failed)) == ([], [(one, 0x0110)])


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda s: (
            st.lists(s, max_size=3)
            | st.dictionaries(
                st.sampled_from(["00081198", "00081199", "00081150", "00081155", "Value"]), s
            )
        ),
    )
)
def test_any_document_is_read_or_refused(document: object) -> None:
    if not isinstance(document, dict):
        return
    for read in (commitment.references_of, commitment.transaction_of):
        with suppress(InputError):
            read(document)
    try:
        word = commitment.word_of(document, [Reference("1.2", "1.3")])
    except InputError:
        return
    assert len(word.committed) + len(word.failed) == 1


def test_too_many_are_refused() -> None:
    many = [Reference("1.2", f"1.{number}") for number in range(REFERENCES_MAX + 1)]
    with pytest.raises(LimitExceeded):
        commitment.references_of(commitment.request("1.9", many))
