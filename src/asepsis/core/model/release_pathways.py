"""Regulatory pathways of a software change: their questions, and where the answers lead.

The questions are in our own words and name their source; a manufacturer answers them with a
rationale and keeps the responsibility. A pathway that is not here is `other` and needs the
manufacturer's signed decision as a file. This is a record of a decision, never the decision.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Leads(StrEnum):
    """Where a yes leads."""

    ENDS = "no new submission"
    SUBMIT = "a submission is needed first"
    GO_ON = "the next question decides"
    REQUIRED = "must be yes, or the pathway does not cover the change"


@dataclass(frozen=True, slots=True)
class Question:
    """One question of a pathway.

    Attributes:
        id: Stable name, as in documents.
        text: What is asked; the answer is yes or no.
        yes: Where a yes leads.
        source: Standard and clause.
    """

    id: str
    text: str
    yes: Leads
    source: str


@dataclass(frozen=True, slots=True)
class Table:
    """One pathway.

    Attributes:
        title: For people.
        questions: In the order in which they are asked; all are answered.
        number: What `submission` is where one is needed.
    """

    title: str
    questions: tuple[Question, ...]
    number: str


_510K: Final = "FDA, Deciding When to Submit a 510(k) for a Software Change, 2017-10-25, figure 1"
_PMA: Final = "21 CFR 814.39"
_PCCP: Final = "FD&C Act section 515C"
_MDR: Final = "Regulation (EU) 2017/745 Article 120(3); MDCG 2020-3 rev. 1, chart C"

_APPROVED: Final = (
    Question(
        "affects-safety",
        "Does the change affect the safety or effectiveness of the approved device?",
        Leads.SUBMIT,
        f"{_PMA}(a)",
    ),
    Question(
        "enhances-safety",
        "Is it a change that enhances safety and may be made while its supplement is reviewed?",
        Leads.SUBMIT,
        f"{_PMA}(d)",
    ),
    Question(
        "process",
        "Does it change a manufacturing procedure or method in a way that affects safety?",
        Leads.SUBMIT,
        f"{_PMA}(f)",
    ),
)

PATHWAYS: Final[Mapping[str, Table]] = {
    "510k": Table(
        "510(k), United States",
        (
            Question(
                "cybersecurity-only",
                "Does the change only strengthen cybersecurity, with no other effect?",
                Leads.ENDS,
                _510K,
            ),
            Question(
                "back-to-specification",
                "Does it only return the system to the specification that was cleared last?",
                Leads.ENDS,
                _510K,
            ),
            Question(
                "new-risk",
                "Does it bring a new risk, or change one, that could do significant harm and is "
                "not mitigated in the device that was cleared last?",
                Leads.SUBMIT,
                _510K,
            ),
            Question(
                "new-control",
                "Does it bring, or need, a new or changed risk control for a hazardous situation "
                "that could do significant harm?",
                Leads.SUBMIT,
                _510K,
            ),
            Question(
                "clinical-performance",
                "Could it significantly affect clinical functionality or performance that belongs "
                "to the intended use?",
                Leads.SUBMIT,
                _510K,
            ),
        ),
        "number of the 510(k)",
    ),
    "pma": Table("PMA, United States", _APPROVED, "number of the supplement or notice"),
    "hde": Table("HDE, United States", _APPROVED, "number of the supplement (21 CFR 814.108)"),
    "pccp": Table(
        "Predetermined change control plan, United States",
        (
            Question(
                "described",
                "Is the change one that the authorised plan describes?",
                Leads.REQUIRED,
                _PCCP,
            ),
            Question(
                "by-protocol",
                "Was it developed, validated and brought out as the plan's protocol says?",
                Leads.REQUIRED,
                _PCCP,
            ),
            Question(
                "intended-use",
                "Does the device keep its intended use?",
                Leads.REQUIRED,
                _PCCP,
            ),
        ),
        "number of the authorisation that holds the plan",
    ),
    "eu-mdr": Table(
        "EU MDR",
        (
            Question("intended-purpose", "Does the intended purpose change?", Leads.SUBMIT, _MDR),
            Question(
                "operating-system",
                "Is there a new or majorly changed operating system or component?",
                Leads.SUBMIT,
                _MDR,
            ),
            Question(
                "algorithm",
                "Is there a new or changed architecture, database structure or algorithm?",
                Leads.SUBMIT,
                _MDR,
            ),
            Question(
                "closed-loop",
                "Does an algorithm take the place of what a user had to enter?",
                Leads.SUBMIT,
                _MDR,
            ),
            Question(
                "new-feature",
                "Is there a new diagnostic or therapeutic feature or channel of exchange?",
                Leads.SUBMIT,
                _MDR,
            ),
            Question(
                "presentation",
                "Is there a new user interface or another presentation of medical data?",
                Leads.SUBMIT,
                _MDR,
            ),
        ),
        "number of the notified body's approval or certificate",
    ),
    "other": Table("Another pathway, decided by the manufacturer", (), "number of the decision"),
}
"""Name -> pathway. A change that a `pccp` does not cover takes another pathway."""
