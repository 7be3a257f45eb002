"""Foreign text on a page: what a device, a message or a browser says about itself.

Escaping keeps it from being markup. This module keeps it from lying: characters that turn the
direction of writing, or that nobody sees, are shown by their number, and what is too long is cut.

Source: Unicode Standard Annex 9 (bidirectional formatting), Technical Report 36 section 2.
"""

import unicodedata
from typing import Final

TEXT_CHARS_MAX: Final = 300
"""Longest foreign text of a page; names and models are far shorter, alarm texts too."""
MARKS_MAX: Final = 4
"""Combining marks on one letter; no script needs more, and more climb over the line above."""
_KEPT: Final = frozenset("\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}")
"""Format characters that ordinary names are written with, in Persian and in India."""
_HIDDEN: Final = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def visible(text: str, *, chars_max: int = TEXT_CHARS_MAX) -> str:
    """Return text in which nothing is hidden and nothing turns around.

    Args:
        text: Foreign text of any length.
        chars_max: Characters after which it is cut, with an ellipsis.
    """
    shown: list[str] = []
    marks = 0
    for char in text[:chars_max]:
        category = unicodedata.category(char)
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        if category in _HIDDEN and char not in _KEPT:
            shown.append(f"[U+{ord(char):04X}]")
        elif marks <= MARKS_MAX:
            shown.append(char)
    if len(text) > chars_max:
        shown.append("\N{HORIZONTAL ELLIPSIS}")
    return "".join(shown)
