"""A profile: what one device model declares about what it sends on one interface.

Profiles are TOML, read strictly: unknown keys, a severity of `block` where it would hide a patient,
and ranges upside down are refused. Nothing in a profile is executed or matched as a pattern.

Source: standard/schemas/profile.json; docs/reference/profiles.md.
"""

import base64
import binascii
import tomllib
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final

import msgspec

from asepsis.core.compliance.verdict import BLOCKING, DEFAULTS, FLOORS, Rule, Severity
from asepsis.core.errors import AsepsisError, InputError, LimitExceeded
from asepsis.core.mapping import ucum
from asepsis.core.wire.hl7_parts import path_of

FORMAT: Final = 1
PROFILE_BYTES_MAX: Final = 262_144
RULES_MAX: Final = 500
METRICS_MAX: Final = 500
MODELS_MAX: Final = 64
VALUES_MAX: Final = 500
BYTES_MAX: Final = 1_048_576
SPKI_BYTES: Final = 91
"""Of a P-256 public key, uncompressed (RFC 5480 section 2)."""
SKEW_S_MAX: Final = 86_400
"""A tolerance above a day says nothing about a clock."""

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
Word = Annotated[str, msgspec.Meta(max_length=120)]
Key = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Uid = Annotated[str, msgspec.Meta(pattern=r"^[0-9.]{1,64}$")]
Weight = Annotated[str, msgspec.Meta(pattern="^(block|quarantine|warn)$")]


class Interface(StrEnum):
    """How the device speaks."""

    HL7V2 = "hl7v2"
    FHIR = "fhir"
    ADP = "adp"
    """Signed batches of the standard itself."""
    DICOM = "dicom"


class Patients(StrEnum):
    """What must stand behind the patient of a value before a chart may have it."""

    ASSOCIATION = "association"
    """A confirmed association that does not contradict the message."""
    CLAIMED = "claimed"
    """The message's own patient, as long as no confirmed association says another."""


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class Header(_Table, frozen=True, kw_only=True):
    """What MSH may say; an empty list takes everything.

    Attributes:
        versions: MSH-12, such as `2.6`.
        charsets: MSH-18, such as `UNICODE UTF-8`; "" for a header without one.
        profiles: MSH-21.1, such as `IHE_PCD_001`.
        senders: MSH-3 and MSH-4 as `application|facility`; another one is another identity.
    """

    versions: Annotated[tuple[Text, ...], msgspec.Meta(max_length=32)] = ()
    charsets: Annotated[tuple[Word, ...], msgspec.Meta(max_length=32)] = ()
    profiles: Annotated[tuple[Text, ...], msgspec.Meta(max_length=32)] = ()
    senders: Annotated[tuple[Text, ...], msgspec.Meta(max_length=64)] = ()


class Required(_Table, frozen=True, kw_only=True):
    """A segment, field or component that must be there.

    Attributes:
        at: Such as `PID`, `PID-3` or `OBX-3.1`; in a repeated segment, in each of them. For FHIR a
            path such as `Observation.device`; for DICOM an attribute's keyword.
        types: Message types that it holds for, such as `ORU^R01`; empty for all.
        severity: What its absence does.
    """

    at: Text
    types: Annotated[tuple[Text, ...], msgspec.Meta(max_length=64)] = ()
    severity: Weight = "quarantine"


class Table(_Table, frozen=True, kw_only=True):
    """A field with a closed list of values; an absent field is not judged here.

    Attributes:
        at: Such as `OBX-11`.
        values: What may stand there.
        types: As `Required.types`.
        severity: What another value does.
    """

    at: Text
    values: Annotated[tuple[Word, ...], msgspec.Meta(min_length=1, max_length=VALUES_MAX)]
    types: Annotated[tuple[Text, ...], msgspec.Meta(max_length=64)] = ()
    severity: Weight = "quarantine"


class Metric(_Table, frozen=True, kw_only=True):
    """One metric that the device measures.

    Attributes:
        code: 32-bit MDC code.
        refid: Its reference identifier, for readers; not judged.
        unit: UCUM unit of `low` and `high`, and the dimension of the metric on this device.
        low: Lowest value that the device says it can measure; None if it declares none.
        high: Highest.
    """

    code: Annotated[int, msgspec.Meta(ge=1, le=0xFFFFFFFF)]
    refid: Word = ""
    unit: Word = ""
    low: Decimal | None = None
    high: Decimal | None = None


class Clock(_Table, frozen=True, kw_only=True):
    """How far the device's clock may be off.

    Attributes:
        skew_s_max: Seconds between its own time of a value and the arrival at the first machine of
            ours, either way.
    """

    skew_s_max: Annotated[float, msgspec.Meta(gt=0, le=SKEW_S_MAX)] = 10.0


class Images(_Table, frozen=True, kw_only=True):
    """What a modality sends; an empty list takes everything.

    Attributes:
        sop_classes: SOP class UIDs.
        transfer_syntaxes: Transfer syntax UIDs.
    """

    sop_classes: Annotated[tuple[Uid, ...], msgspec.Meta(max_length=256)] = ()
    transfer_syntaxes: Annotated[tuple[Uid, ...], msgspec.Meta(max_length=64)] = ()


class Conformance(_Table, frozen=True, kw_only=True):
    """What a device must bring to be commissioned; nothing here is asked of one in use.

    Attributes:
        required: Whether a certificate of conformance is needed.
        keys: Public keys of who may vouch: SubjectPublicKeyInfo (DER) in base64.
        tested: Beginnings of what was tested, at a word's end; the profile's models if empty.
    """

    required: bool = False
    keys: Annotated[tuple[Key, ...], msgspec.Meta(max_length=16)] = ()
    tested: Annotated[tuple[Text, ...], msgspec.Meta(max_length=MODELS_MAX)] = ()

    def spki_der(self) -> tuple[bytes, ...]:
        """Return the keys.

        Raises:
            InputError: One is no base64.
        """
        try:
            return tuple(base64.b64decode(key, validate=True) for key in self.keys)
        except binascii.Error as error:
            raise InputError("conformance.keys: a key is base64 of its DER") from error


class Profile(_Table, frozen=True, kw_only=True):
    """What one device model declares about one interface.

    Attributes:
        format: Of this file: 1.
        name: Lower-case name, unique in a hospital.
        version: From 1; a change of what is judged is a new version.
        interface: How the device speaks.
        models: The models that it is for, as people listed them.
        source: Where it is from, such as a manual with edition, or what it was learned from.
        bytes_max: Largest message, bundle or data set header.
        types: Message types or resource types that it sends; empty takes all.
        patient: What must stand behind the patient.
        severities: Severity of a rule, by its name, where it is not the default.
        header: HL7 v2 only.
        required: What must be there.
        tables: Closed lists.
        metrics: What it measures; empty judges no metric and no range.
        clock: Its clock.
        images: DICOM only.
        conformance: What is asked for at commissioning.
    """

    format: Annotated[int, msgspec.Meta(ge=FORMAT, le=FORMAT)]
    name: Name
    version: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    interface: Interface
    models: Annotated[tuple[Text, ...], msgspec.Meta(max_length=MODELS_MAX)] = ()
    source: Annotated[str, msgspec.Meta(max_length=400)] = ""
    bytes_max: Annotated[int, msgspec.Meta(ge=64, le=BYTES_MAX)] = BYTES_MAX
    types: Annotated[tuple[Text, ...], msgspec.Meta(max_length=128)] = ()
    patient: Patients = Patients.ASSOCIATION
    severities: dict[Rule, Weight] = {}
    header: Header = Header()
    required: Annotated[tuple[Required, ...], msgspec.Meta(max_length=RULES_MAX)] = ()
    tables: Annotated[tuple[Table, ...], msgspec.Meta(max_length=RULES_MAX)] = ()
    metrics: Annotated[tuple[Metric, ...], msgspec.Meta(max_length=METRICS_MAX)] = ()
    clock: Clock = Clock()
    images: Images = Images()
    conformance: Conformance = Conformance()

    @property
    def title(self) -> str:
        """Name and version, such as `acme-m3 v2`."""
        return f"{self.name} v{self.version}"

    def severity(self, rule: Rule) -> Severity:
        """Return what a finding of a rule does."""
        word = self.severities.get(rule)
        return DEFAULTS[rule] if word is None else Severity.named(word)


BINDING: Final = Profile(format=FORMAT, name="binding", version=1, interface=Interface.HL7V2)
"""What is judged where no profile was decided: patient, unit dimension and clock, nothing else."""


def read_profile(text: bytes) -> Profile:
    """Read a profile.

    Args:
        text: TOML, UTF-8, at most `PROFILE_BYTES_MAX` bytes.

    Raises:
        LimitExceeded: Larger.
        InputError: Not TOML, not a profile, or one that contradicts itself.

    Source: standard/schemas/profile.json.
    """
    if len(text) > PROFILE_BYTES_MAX:
        raise LimitExceeded(f"a profile has at most {PROFILE_BYTES_MAX} bytes")
    try:
        document = tomllib.loads(text.decode("utf-8"), parse_float=Decimal)
        profile = msgspec.convert(document, Profile, str_keys=True)
    except RecursionError as error:
        raise InputError("the profile is nested too deeply") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"not a profile: {error}") from error
    check_profile(profile)
    return profile


def check_profile(profile: Profile) -> None:
    """Refuse a profile that would hide a patient or contradicts itself.

    Raises:
        InputError: What is wrong, with the key.
    """
    for rule, word in profile.severities.items():
        severity = Severity.named(word)
        _require_no_block(f"severities.{rule}", rule, severity)
        floor = FLOORS.get(rule, Severity.WARN)
        if severity < floor:
            raise InputError(f"severities.{rule}: may not be weaker than {floor.word}")
    for index, rule in enumerate((*profile.required, *profile.tables)):
        _require_no_block(f"rule {index + 1} ({rule.at})", Rule.REQUIRED, _of(rule.severity))
        if profile.interface is Interface.HL7V2:
            _check_path(rule.at)
    _check_conformance(profile.conformance)
    seen: set[int] = set()
    for metric in profile.metrics:
        _check_metric(metric)
        if metric.code in seen:
            raise InputError(f"metric {metric.code} stands twice")
        seen.add(metric.code)


def _check_conformance(conformance: Conformance) -> None:
    if conformance.required and not conformance.keys:
        raise InputError("conformance.required: conformance.keys names nobody who may vouch")
    if any(len(spki_der) != SPKI_BYTES for spki_der in conformance.spki_der()):
        raise InputError("conformance.keys: a key is not a P-256 public key, uncompressed")


def _of(word: str) -> Severity:
    return Severity.named(word)


def _require_no_block(where: str, rule: Rule, severity: Severity) -> None:
    if severity is Severity.BLOCK and rule not in BLOCKING:
        raise InputError(
            f"{where}: only {', '.join(sorted(BLOCKING))} may block",
            hint="use quarantine: it holds back the chart and never the sight of a patient",
        )


def _check_path(at: str) -> None:
    if not (len(at) == 3 and at.isascii() and at.isalnum() and at.isupper()):
        path_of(at)


def _check_metric(metric: Metric) -> None:
    ranged = metric.low is not None or metric.high is not None
    for bound in (metric.low, metric.high):
        if bound is not None and not bound.is_finite():
            raise InputError(f"metric {metric.code}: a bound is a number")
    if metric.low is not None and metric.high is not None and metric.low > metric.high:
        raise InputError(f"metric {metric.code}: low is above high")
    if ranged and not metric.unit:
        raise InputError(f"metric {metric.code}: a range needs its unit")
    if metric.unit:
        try:
            ucum.parse(metric.unit)
        except AsepsisError as error:
            raise InputError(f"metric {metric.code}: {error}") from error
