"""Data types of FHIR R4 that the point-of-care device profiles use, as frozen structs.

Unknown fields are refused here and pruned by `fhir_codec`, which counts them: FHIR demands that a
receiver ignores what it does not know, and we want to know how often that happens.

Source: HL7 FHIR R4 (4.0.1), datatypes; HL7 PoCD 1.0.0-ballot3.
"""

from decimal import Decimal, InvalidOperation
from typing import Annotated, Final, Self

import msgspec

from asepsis.core.errors import LimitExceeded

DECIMAL_DIGITS_MAX: Final = 34
"""Digits of a decimal; FHIR demands at least 18 (datatypes, decimal), decimal128 holds 34."""
DECIMAL_EXPONENT_MAX: Final = 160
"""Largest power of ten; FLOAT-Type needs 134 (exponent 127 and seven digits)."""

_SMALL: Final = 10**18
_DATE: Final = r"[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01])"
_TIME: Final = r"T([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]{1,9})?"
_ZONE: Final = r"(Z|[+-]((0[0-9]|1[0-3]):[0-5][0-9]|14:00))"

Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9\-.]{1,64}$")]
DateTime = Annotated[str, msgspec.Meta(pattern=f"^{_DATE}({_TIME}{_ZONE})?)?)?$")]
Instant = Annotated[str, msgspec.Meta(pattern=f"^{_DATE}{_TIME}{_ZONE}))$")]
Date = Annotated[str, msgspec.Meta(pattern=f"^{_DATE})?)?$")]
Count = Annotated[int, msgspec.Meta(ge=0, le=2_147_483_647)]
PositiveCount = Annotated[int, msgspec.Meta(ge=1, le=2_147_483_647)]


class FhirDecimal(Decimal):
    """A FHIR decimal: finite, bounded and with every digit that was sent, trailing zeros included.

    Raises:
        LimitExceeded: Not a number, over `DECIMAL_DIGITS_MAX` digits or beyond
            `DECIMAL_EXPONENT_MAX`; without the bound `1e999999999` would stall exact arithmetic.

    Source: HL7 FHIR R4 datatypes, decimal (precision is significant).
    """

    __slots__ = ()

    def __new__(cls, value: Decimal | int | str) -> Self:
        """Make a bounded decimal from a number or its text."""
        if type(value) is int and -_SMALL < value < _SMALL:
            return super().__new__(cls, value)  # Most vital signs: spare them the look at digits.
        try:
            number = super().__new__(cls, value)
        except InvalidOperation as error:
            raise LimitExceeded("not a decimal number") from error
        _, digits, exponent = number.as_tuple()
        if not isinstance(exponent, int):
            raise LimitExceeded("a FHIR decimal is a finite number")
        if len(digits) > DECIMAL_DIGITS_MAX or abs(exponent) > DECIMAL_EXPONENT_MAX:
            raise LimitExceeded(f"decimal is over {DECIMAL_DIGITS_MAX} digits or too far from one")
        return number


class FhirStruct(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    rename="camel",
    gc=False,
):
    """Base of every FHIR element: frozen, camelCase on the wire, absent fields not written.

    Resource handling: trees without cycles, so that the garbage collector need not watch them.
    """


class Coding(FhirStruct, frozen=True, kw_only=True):
    """Reference to a code of a terminology (datatypes, Coding)."""

    system: str | None = None
    version: str | None = None
    code: str | None = None
    display: str | None = None
    user_selected: bool | None = None


class CodeableConcept(FhirStruct, frozen=True, kw_only=True):
    """One concept in several terminologies (datatypes, CodeableConcept)."""

    coding: tuple[Coding, ...] = ()
    text: str | None = None


class Period(FhirStruct, frozen=True, kw_only=True):
    """A time range (datatypes, Period)."""

    start: DateTime | None = None
    end: DateTime | None = None


class Identifier(FhirStruct, frozen=True, kw_only=True):
    """A business identifier (datatypes, Identifier)."""

    use: str | None = None
    type: CodeableConcept | None = None
    system: str | None = None
    value: str | None = None
    period: Period | None = None


class Reference(FhirStruct, frozen=True, kw_only=True):
    """A link to another resource (references, Reference)."""

    reference: str | None = None
    type: str | None = None
    identifier: Identifier | None = None
    display: str | None = None


class Quantity(FhirStruct, frozen=True, kw_only=True):
    """A measured amount (datatypes, Quantity)."""

    value: FhirDecimal | None = None
    comparator: str | None = None
    unit: str | None = None
    system: str | None = None
    code: str | None = None


class Range(FhirStruct, frozen=True, kw_only=True):
    """Low and high end (datatypes, Range)."""

    low: Quantity | None = None
    high: Quantity | None = None


class Ratio(FhirStruct, frozen=True, kw_only=True):
    """A relation of two quantities (datatypes, Ratio)."""

    numerator: Quantity | None = None
    denominator: Quantity | None = None


class SampledData(FhirStruct, frozen=True, kw_only=True):
    """A series of samples: value = origin + data * factor (datatypes, SampledData)."""

    origin: Quantity
    period: FhirDecimal
    factor: FhirDecimal | None = None
    lower_limit: FhirDecimal | None = None
    upper_limit: FhirDecimal | None = None
    dimensions: PositiveCount
    data: str | None = None


class SubExtension(FhirStruct, frozen=True, kw_only=True):
    """An extension inside an extension; deeper ones are ignored and counted."""

    url: str
    value_boolean: bool | None = None
    value_code: str | None = None
    value_codeable_concept: CodeableConcept | None = None
    value_decimal: FhirDecimal | None = None
    value_instant: Instant | None = None
    value_date_time: DateTime | None = None
    value_integer: int | None = None
    value_quantity: Quantity | None = None
    value_range: Range | None = None
    value_reference: Reference | None = None
    value_string: str | None = None
    value_unsigned_int: Count | None = None
    value_uri: str | None = None


class Extension(SubExtension, frozen=True, kw_only=True):
    """Additional content defined by a profile (extensibility, Extension)."""

    extension: tuple[SubExtension, ...] = ()


class Meta(FhirStruct, frozen=True, kw_only=True):
    """Data about the resource (resource, Meta); PoCD puts the measurement status in `security`."""

    version_id: str | None = None
    last_updated: Instant | None = None
    source: str | None = None
    profile: tuple[str, ...] = ()
    security: tuple[Coding, ...] = ()
    tag: tuple[Coding, ...] = ()


class Narrative(FhirStruct, frozen=True, kw_only=True):
    """Text for people (narrative, Narrative); never shown by us, it is markup from outside."""

    status: str
    div: str


class Annotation(FhirStruct, frozen=True, kw_only=True):
    """A note (datatypes, Annotation)."""

    author_reference: Reference | None = None
    author_string: str | None = None
    time: DateTime | None = None
    text: str
