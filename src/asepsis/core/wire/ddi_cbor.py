"""CBOR of the Direct Device Integration API, kept to what JSON can say.

cbor2 would build dates, big numbers, regular expressions and shared references from tags; none of
them means anything here, so every tag is refused, as are deep nesting and keys given twice.

Source: RFC 8949 sections 3.4 (tags), 5.6 (duplicate keys), 10 (security).
"""

import io
from collections.abc import Callable, Mapping
from typing import Any, Final

import cbor2

from asepsis.core.errors import InputError

DEPTH_MAX: Final = 8
"""Nesting; a feedback has four levels."""
_KNOWN_TAGS: Final = (
    *range(64),
    *(100, 102, 103, 256, 258, 260, 261, 1_001, 1_002, 1_003, 1_004, 43_000, 55_799),
)


class _TagRefused(Exception):  # noqa: N818 - ends the decoder's run
    """A tag was met."""


def _refuse(*_given: object) -> Any:
    raise _TagRefused


_REFUSED: Final[Mapping[int, Callable[..., Any]]] = dict.fromkeys(_KNOWN_TAGS, _refuse)


def read_cbor(raw: bytes) -> Any:
    """Return the value of one CBOR item.

    Args:
        raw: The item and nothing after it.

    Raises:
        InputError: Malformed, cut short, too deep, a tag, a key given twice, or bytes left over.
    """
    stream = io.BytesIO(raw)
    try:
        found = cbor2.load(
            stream,
            tag_hook=_refuse,
            semantic_decoders=_REFUSED,
            max_depth=DEPTH_MAX,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
    except (cbor2.CBORError, _TagRefused, ValueError, RecursionError) as error:
        raise InputError(f"the body is not plain CBOR: {error}") from error
    if stream.tell() != len(raw):
        raise InputError("the body goes on after its CBOR item")
    return found


def write_cbor(document: object) -> bytes:
    """Return a document of strings, numbers, lists and dictionaries as CBOR."""
    return cbor2.dumps(document)
