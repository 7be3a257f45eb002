"""One attack that is judged by what comes of it, not by an error number."""

from dataclasses import asdict, dataclass
from typing import Any, Final

REFUSED: Final = "refused"
VISIBLE: Final = "visible"
HARMLESS: Final = "harmless"
HONEST: Final = "succeeds"
"""It works, and the report says so."""
BELIEVED: Final = "BELIEVED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One such attack.

    Attributes:
        name: Short name.
        title: What it tries, in a sentence.
        outcome: One of the words above.
        detail: What was seen.
    """

    name: str
    title: str
    outcome: str
    detail: str

    @property
    def believed(self) -> bool:
        """Whether it deceived or moved somebody whom it must not."""
        return self.outcome == BELIEVED

    def document(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)
