"""The release document: what a manufacturer says of one release, beside its artefacts.

Every artefact of a release names the document by its SHA-256, and so does the authorisation that
both parties sign; so nobody can change a word of it afterwards. Documents are JSON; SBOM, VEX and
decisions are files of their own that it names by their hash.

Source: standard/schemas/release.json; docs/reference/release-document.md.
"""

import hashlib
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.model.update import TESTS_MAX

DOCUMENT_BYTES_MAX: Final = 262_144
FORMAT: Final = 1
COMPONENTS_MAX: Final = 32
DELTAS_MAX: Final = 32
CLOSED_MAX: Final = 1_000
PATHWAYS_MAX: Final = 8
FILE_BYTES_MAX: Final = 32 << 20
"""A bill of materials, a VEX document, or a signed decision."""
COUNTER_MAX: Final = 2**53 - 1
SECONDS_MAX: Final = 86_400

Word: TypeAlias = Annotated[
    str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9.-]*$")
]
Version: TypeAlias = Annotated[
    str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z][0-9A-Za-z.+~-]*$")
]
Sha256: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Line: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Text: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=4_000)]
Counter: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=COUNTER_MAX)]
Seconds: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=SECONDS_MAX)]
Reboot: TypeAlias = Literal["none", "component", "device"]
State: TypeAlias = Literal["in-use", "standby", "idle", "cleaning", "maintenance"]
"""Clinical states that may be required; while a device alarms nothing is ever installed."""
Setting: TypeAlias = Literal[
    "alarm-limits",
    "alarm-defaults",
    "drug-library",
    "calibration",
    "network",
    "patient-context",
]
"""Parts of the fingerprint that is taken before and after an update."""


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything in the document: named fields, nothing unknown."""


class FileRef(Part, frozen=True, kw_only=True):
    """A file that belongs to the document.

    Attributes:
        name: Its name, for people.
        sha256: Of its bytes, hexadecimal.
        length: Bytes, at most `FILE_BYTES_MAX`.
    """

    name: Line
    sha256: Sha256
    length: Annotated[int, msgspec.Meta(ge=1, le=FILE_BYTES_MAX)]


class Delta(Part, frozen=True, kw_only=True):
    """A difference from which a device that has the old artefact makes the new one.

    Attributes:
        old: SHA-256 of the artefact that it begins from.
        method: How it was made.
        sha256: Of the difference itself.
        length: Bytes of the difference.
        memory_mib: Memory that applying it takes, MiB.
    """

    old: Sha256
    method: Literal["hdiffpatch", "zstd"]
    sha256: Sha256
    length: Annotated[int, msgspec.Meta(ge=1, le=COUNTER_MAX)]
    memory_mib: Annotated[int, msgspec.Meta(ge=1, le=65_536)]


def delta_place(model: str, sha256: str) -> str:
    """Return where a difference is published below `targets`, by its own hash."""
    return f"{model}/{sha256}.delta"


class Component(Part, frozen=True, kw_only=True):
    """One artefact of the release; the first six fields stand in its target as well.

    Attributes:
        component: The compartment or image it replaces.
        version: For people; decides nothing.
        counter: Number of the release of this component.
        floor: Once verified, nothing below it is taken; at most `counter`.
        reboot: What has to start anew.
        sha256: Of the whole artefact.
        length: Bytes of the whole artefact.
        deltas: Ways to it from older artefacts; the whole one is always there too.
    """

    component: Word
    version: Version
    counter: Counter
    floor: Annotated[int, msgspec.Meta(ge=0, le=COUNTER_MAX)] = 0
    reboot: Reboot = "component"
    sha256: Sha256
    length: Annotated[int, msgspec.Meta(ge=1, le=COUNTER_MAX)]
    deltas: Annotated[tuple[Delta, ...], msgspec.Meta(max_length=DELTAS_MAX)] = ()


class Closed(Part, frozen=True, kw_only=True):
    """A vulnerability that the release closes.

    Attributes:
        id: CVE or the manufacturer's own number.
        words: What it is, for people.
    """

    id: Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9]{1,15}-[0-9A-Za-z-]{1,48}$")]
    words: Line


class SelfTest(Part, frozen=True, kw_only=True):
    """A self-test that has to pass on the device before the release counts.

    Attributes:
        name: Name of the test that the device knows.
        unit: UCUM code of the measured value.
        low: Lowest value that passes.
        high: Highest value that passes.
    """

    name: Word
    unit: Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
    low: float
    high: float


class Installing(Part, frozen=True, kw_only=True):
    """When and how it may be installed.

    Attributes:
        states: Clinical states in which it may begin.
        run_s: Seconds that it takes at most, self-tests included.
        rollback_s: Seconds that going back takes at most.
        acceptance: Whether biomedical engineering has to accept the device before it is used.
        changes: Settings that the release changes on purpose; any other change fails it.
    """

    states: Annotated[tuple[State, ...], msgspec.Meta(min_length=1, max_length=5)]
    run_s: Seconds
    rollback_s: Seconds
    acceptance: bool = False
    changes: Annotated[tuple[Setting, ...], msgspec.Meta(max_length=6)] = ()


class Note(Part, frozen=True, kw_only=True):
    """What clinicians are told.

    Attributes:
        language: BCP 47 tag, such as `en` or `de-CH`.
        text: Plain text.
    """

    language: Annotated[str, msgspec.Meta(pattern=r"^[a-z]{2,3}(-[A-Z]{2})?$")]
    text: Text


class Answer(Part, frozen=True, kw_only=True):
    """The manufacturer's answer to one question of a pathway.

    Attributes:
        question: Id of the question.
        answer: Yes or no.
        rationale: Why.
    """

    question: Word
    answer: bool
    rationale: Text


class Pathway(Part, frozen=True, kw_only=True):
    """One regulatory pathway, and the manufacturer's way through it.

    Attributes:
        name: Which; see `core.model.release_pathways`.
        answers: One to each of its questions, in any order.
        submission: Number of the submission, supplement, notice or certificate, where the answers
            demand one; of the authorised plan for a PCCP.
        decision: The manufacturer's signed decision; needed where the pathway is `other`.
    """

    name: Literal["510k", "pma", "hde", "pccp", "eu-mdr", "other"]
    answers: Annotated[tuple[Answer, ...], msgspec.Meta(max_length=32)] = ()
    submission: Annotated[str, msgspec.Meta(max_length=64)] = ""
    decision: FileRef | None = None


class FieldAction(Part, frozen=True, kw_only=True):
    """Whether it is a correction, removal or field safety corrective action.

    Attributes:
        kind: `none`; `recorded` (21 CFR 806.20); `reported` (21 CFR 806.10); `fsca` (EU MDR,
            Article 87).
        number: Of the report or FSCA; needed for `reported` and `fsca`.
        rationale: Why.
    """

    kind: Literal["none", "recorded", "reported", "fsca"]
    number: Annotated[str, msgspec.Meta(max_length=64)] = ""
    rationale: Text


class Assessment(Part, frozen=True, kw_only=True):
    """The manufacturer's safety assessment; the hospital never signs it as its own.

    Attributes:
        manufacturer: Legal manufacturer.
        author: Who made it.
        author_key: SHA-256 of the author's public key (SubjectPublicKeyInfo): who made it never
            approves it.
        document: Number of the document in the manufacturer's quality system.
        date: Day of it, ISO 8601.
        pathways: One for every market in which the device is installed.
        schedule: `routine` (524B(b)(2)(A)) or `out-of-cycle` (524B(b)(2)(B)).
        schedule_reason: Why, for `out-of-cycle`.
        field_action: The decision on corrections and removals.
    """

    manufacturer: Line
    author: Line
    author_key: Sha256
    document: Line
    date: Annotated[str, msgspec.Meta(pattern=r"^20[0-9]{2}-[01][0-9]-[0-3][0-9]$")]
    pathways: Annotated[tuple[Pathway, ...], msgspec.Meta(min_length=1, max_length=PATHWAYS_MAX)]
    schedule: Literal["routine", "out-of-cycle"]
    schedule_reason: Annotated[str, msgspec.Meta(max_length=4_000)] = ""
    field_action: FieldAction


class ReleaseDocument(Part, frozen=True, kw_only=True):
    """The whole document.

    Attributes:
        format: 1.
        vendor: Name of the vendor, as its image repository has it.
        model: Device model.
        name: Name of the release, for people.
        components: Its artefacts.
        sbom: Bill of materials, CycloneDX.
        vex: Which known vulnerabilities do and do not concern it; CycloneDX, OpenVEX or CSAF.
        closes: Vulnerabilities that it closes.
        installing: When and how it may be installed.
        self_tests: What has to pass on the device.
        notes: For clinicians.
        assessment: Safety and regulatory assessment.
    """

    format: Literal[1]
    vendor: Word
    model: Word
    name: Line
    components: Annotated[
        tuple[Component, ...], msgspec.Meta(min_length=1, max_length=COMPONENTS_MAX)
    ]
    sbom: FileRef
    vex: FileRef | None = None
    closes: Annotated[tuple[Closed, ...], msgspec.Meta(max_length=CLOSED_MAX)] = ()
    installing: Installing
    self_tests: Annotated[tuple[SelfTest, ...], msgspec.Meta(min_length=1, max_length=TESTS_MAX)]
    notes: Annotated[tuple[Note, ...], msgspec.Meta(min_length=1, max_length=32)]
    assessment: Assessment

    def files(self) -> tuple[FileRef, ...]:
        """Return every file that belongs to the document."""
        decisions = (pathway.decision for pathway in self.assessment.pathways)
        return tuple(one for one in (self.sbom, self.vex, *decisions) if one is not None)

    def component_of(self, sha256: str) -> Component:
        """Return the artefact of that hash.

        Raises:
            InputError: The document names no such artefact.
        """
        for one in self.components:
            if one.sha256 == sha256:
                return one
        raise InputError("the release document does not name that artefact")


_DECODER: Final = msgspec.json.Decoder(ReleaseDocument)


def read_document(content: bytes) -> ReleaseDocument:
    """Read a document; whether it is complete `release_assessment.check` says.

    Raises:
        LimitExceeded: Over `DOCUMENT_BYTES_MAX` bytes.
        InputError: Not exactly the fields of a release document.
    """
    if len(content) > DOCUMENT_BYTES_MAX:
        raise LimitExceeded(f"a release document is over {DOCUMENT_BYTES_MAX} bytes")
    try:
        return _DECODER.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(f"not a release document: {error}") from error


def write_document(document: ReleaseDocument) -> bytes:
    """Return a document as the bytes that are hashed and published."""
    return msgspec.json.format(msgspec.json.encode(document)) + b"\n"


def digest(content: bytes) -> str:
    """Return the SHA-256 by which a document or file is named, hexadecimal."""
    return hashlib.sha256(content).hexdigest()
