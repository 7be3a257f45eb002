"""What a judgement says: findings, each with its rule and severity, and what follows from them.

A verdict never hides a patient. `QUARANTINE` holds data back from *chart delivery* only; live views
and alerts show it, marked `unverified`. `BLOCK` exists for identity, framing and size alone: what
cannot be read, or is not the sender's to say, has nothing that could be shown.

Source: docs/explanation/compliance.md.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

FINDINGS_MAX: Final = 64
"""Findings that one verdict keeps; the worst ones stay, the rest are counted."""
REASON_CHARS_MAX: Final = 160


class Severity(IntEnum):
    """What a finding does, weakest first."""

    WARN = 1
    """It is counted and shown to who looks after the device; the data goes everywhere."""
    QUARANTINE = 2
    """Charts do not get it until a person releases it; live it shows, marked unverified."""
    BLOCK = 3
    """It is refused: nobody knows who speaks, or it cannot be read."""

    @classmethod
    def named(cls, word: str) -> "Severity":
        """Return the severity of its word in a profile: `block`, `quarantine` or `warn`."""
        return cls[word.upper()]

    @property
    def word(self) -> str:
        """The word in a profile."""
        return self.name.lower()


class Rule(StrEnum):
    """Every rule there is, as it is named in profiles, reports and reasons."""

    FRAMING = "framing"
    SIZE = "size"
    IDENTITY = "identity"
    MESSAGE_TYPE = "message-type"
    VERSION = "version"
    CHARSET = "charset"
    MESSAGE_PROFILE = "message-profile"
    REQUIRED = "required"
    TABLE = "table"
    CODE = "code"
    METRIC = "metric"
    UNIT = "unit"
    RANGE = "range"
    CLOCK = "clock"
    PATIENT = "patient"
    SOP_CLASS = "sop-class"
    TRANSFER_SYNTAX = "transfer-syntax"


BLOCKING: Final = frozenset({Rule.FRAMING, Rule.SIZE, Rule.IDENTITY})
"""The only rules that may refuse; everything else would hide a patient."""

DEFAULTS: Final[Mapping[Rule, Severity]] = {
    Rule.FRAMING: Severity.BLOCK,
    Rule.SIZE: Severity.BLOCK,
    Rule.IDENTITY: Severity.BLOCK,
    Rule.MESSAGE_TYPE: Severity.WARN,
    Rule.VERSION: Severity.WARN,
    Rule.CHARSET: Severity.WARN,
    Rule.MESSAGE_PROFILE: Severity.WARN,
    Rule.REQUIRED: Severity.QUARANTINE,
    Rule.TABLE: Severity.QUARANTINE,
    Rule.CODE: Severity.WARN,
    Rule.METRIC: Severity.WARN,
    Rule.UNIT: Severity.QUARANTINE,
    Rule.RANGE: Severity.QUARANTINE,
    Rule.CLOCK: Severity.QUARANTINE,
    Rule.PATIENT: Severity.QUARANTINE,
    Rule.SOP_CLASS: Severity.QUARANTINE,
    Rule.TRANSFER_SYNTAX: Severity.QUARANTINE,
}
"""What a finding does where the profile says nothing else."""

FLOORS: Final[Mapping[Rule, Severity]] = {
    Rule.FRAMING: Severity.BLOCK,
    Rule.PATIENT: Severity.QUARANTINE,
    Rule.UNIT: Severity.QUARANTINE,
}
"""No profile makes these weaker: another patient's value, or another quantity, is for no chart."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as the profile says.

    Attributes:
        rule: Which rule.
        severity: What it does.
        reason: One sentence without patient data, at most `REASON_CHARS_MAX` characters.
        where: Field, element or tag, such as `OBX[2]-6`; "" for the whole.
    """

    rule: Rule
    severity: Severity
    reason: str
    where: str = ""

    def text(self) -> str:
        """Return what a person reads: `range: above what the device declares (OBX[2]-5)`."""
        place = f" ({self.where})" if self.where else ""
        return f"{self.rule}: {self.reason}{place}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found, worst first.

    Attributes:
        findings: At most `FINDINGS_MAX`.
        left_out: How many more there were.
    """

    findings: tuple[Finding, ...] = ()
    left_out: int = 0

    @classmethod
    def of(cls, findings: Iterable[Finding]) -> "Verdict":
        """Order findings by severity, then as they were found, and keep a bounded number."""
        ordered = sorted(findings, key=lambda finding: -finding.severity)
        kept = tuple(ordered[:FINDINGS_MAX])
        return cls(kept, len(ordered) - len(kept))

    @property
    def severity(self) -> Severity | None:
        """The worst severity; None if nothing was found."""
        return self.findings[0].severity if self.findings else None

    @property
    def blocked(self) -> bool:
        """Whether it must be refused."""
        return self.severity is Severity.BLOCK

    @property
    def unverified(self) -> str:
        """Why it is held back from charts and marked live; "" if it is verified."""
        worst = self.findings[0] if self.findings else None
        return worst.text() if worst and worst.severity >= Severity.QUARANTINE else ""

    def joined(self, other: "Verdict") -> "Verdict":
        """Return both verdicts as one; never weaker than either."""
        both = Verdict.of((*self.findings, *other.findings))
        return Verdict(both.findings, both.left_out + self.left_out + other.left_out)


VERIFIED: Final = Verdict()
