"""FHIR JSON in and out: bounded, typed, every digit kept, unknown fields ignored and counted.

The fast path decodes into structs that refuse unknown fields; a bundle of a conforming device
never leaves it. Only when it meets an unknown field the text is read a second time without types,
pruned by the structs' own shape and counted. A `modifierExtension` is never pruned: it can turn a
statement into its opposite, so a receiver that does not know it must refuse (FHIR extensibility).

Source: HL7 FHIR R4 (4.0.1) json, extensibility 2.4.0.3.1; RFC 8259.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Generic, TypeVar, cast

import msgspec

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.wire.fhir import (
    AnyResource,
    Bundle,
    CapabilityStatement,
    Device,
    DeviceMetric,
    Observation,
    OperationOutcome,
)
from asepsis.core.wire.fhir_types import FhirDecimal

MEDIA_TYPE: Final = "application/fhir+json"
BYTES_MAX: Final = 1_048_576
ENTRIES_MAX: Final = 1_000
NODES_MAX: Final = 100_000
"""Objects and arrays in a document; 28 observations have about 400."""
DECIMAL_CHARS_MAX: Final = 64

_MUST_UNDERSTAND: Final = frozenset({"modifierExtension", "implicitRules"})
_PATH: Final = re.compile(r" - at `(?P<path>\$[^`]*)`$")
_UNKNOWN_FIELD: Final = "Object contains unknown field"
_T = TypeVar("_T", bound=AnyResource)


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirLimits:
    """What a receiver takes.

    Attributes:
        bytes_max: Whole document, bytes.
        entries_max: Entries of a bundle.
        nodes_max: Objects and arrays of the document, at any depth.
    """

    bytes_max: int = BYTES_MAX
    entries_max: int = ENTRIES_MAX
    nodes_max: int = NODES_MAX


STANDARD_LIMITS: Final = FhirLimits()


@dataclass(frozen=True, slots=True)
class Decoded(Generic[_T]):
    """A resource and how much of its text we do not know.

    Attributes:
        resource: The typed content.
        ignored: Number of fields that were ignored because no struct has them.
    """

    resource: _T
    ignored: int


def _decimal(wanted: type, value: object) -> FhirDecimal:
    """Take a JSON number, never a text that looks like one (FHIR json: decimals are numbers)."""
    if wanted is FhirDecimal and type(value) in {int, Decimal}:
        return FhirDecimal(cast("int | Decimal", value))
    raise TypeError("Expected a JSON number")


def _plain(value: object) -> Decimal:
    return Decimal(cast("FhirDecimal", value))  # The only type that the encoder does not know.


def _read_float(text: str) -> Decimal:
    if len(text) > DECIMAL_CHARS_MAX:
        raise LimitExceeded(f"a decimal has at most {DECIMAL_CHARS_MAX} characters")
    return Decimal(text)


_RESOURCES: Final = (
    Observation,
    Device,
    DeviceMetric,
    OperationOutcome,
    Bundle,
    CapabilityStatement,
)
_DECODERS: Final[dict[type, msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind, dec_hook=_decimal, float_hook=_read_float)
    for kind in _RESOURCES
}
_UNTYPED: Final = msgspec.json.Decoder(float_hook=_read_float)
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number", enc_hook=_plain)


def encode(resource: AnyResource) -> bytes:
    """Write a resource as FHIR JSON; absent fields are left out, decimals keep their digits.

    Source: HL7 FHIR R4 json.
    """
    return _ENCODER.encode(resource)


def decode_bundle(data: bytes, *, limits: FhirLimits = STANDARD_LIMITS) -> Decoded[Bundle]:
    """Read a bundle.

    Raises:
        LimitExceeded: Too many bytes, entries or nodes, nested too deeply, or a decimal too long.
        InputError: Not UTF-8, not JSON, not a Bundle of resources that this interface takes, or a
            modifier that we do not understand.

    Source: HL7 FHIR R4 Bundle.
    """
    decoded = decode(data, Bundle, limits=limits)
    if len(decoded.resource.entry) > limits.entries_max:
        raise LimitExceeded(f"bundle has over {limits.entries_max} entries")
    return decoded


def decode(data: bytes, kind: type[_T], *, limits: FhirLimits = STANDARD_LIMITS) -> Decoded[_T]:
    """Read one resource of a known type.

    Args:
        data: UTF-8 JSON.
        kind: Which resource it must be.
        limits: What is taken.

    Raises:
        LimitExceeded: Too many bytes or nodes, nested too deeply, or a decimal too long.
        InputError: Not UTF-8, not JSON, not such a resource, or a modifier that we do not know.

    Source: HL7 FHIR R4 json.
    """
    _check_size(data, limits)
    try:
        return _decode(data, kind)
    except msgspec.ValidationError as error:
        raise _refusal(kind, error) from error
    except msgspec.DecodeError as error:
        raise InputError(f"not JSON: {error}") from error
    except RecursionError as error:
        raise LimitExceeded("document is nested too deeply") from error


def _decode(data: bytes, kind: type[_T]) -> Decoded[_T]:
    try:
        return Decoded(cast("_T", _DECODERS[kind].decode(data)), 0)
    except msgspec.ValidationError as error:
        if not str(error).startswith(_UNKNOWN_FIELD):
            raise
    pruner = _Pruner()
    known = pruner.prune(_UNTYPED.decode(data), _SHAPES[kind])
    return Decoded(msgspec.convert(known, kind, dec_hook=_decimal), pruner.ignored)


def _check_size(data: bytes, limits: FhirLimits) -> None:
    if len(data) > limits.bytes_max:
        raise LimitExceeded(f"document is over {limits.bytes_max} bytes")
    # An upper bound at memory speed: braces inside texts count too, which only makes it stricter.
    if data.count(b"{") + data.count(b"[") > limits.nodes_max:
        raise LimitExceeded(f"document has over {limits.nodes_max} objects and arrays")
    try:
        data.decode("utf-8")  # The decoder skips unknown fields without looking at their bytes.
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8") from error


def _refusal(kind: type, error: msgspec.ValidationError) -> InputError:
    # The library's text can quote a value, and a value can be a patient's: only the path is kept.
    text = str(error)
    found = _PATH.search(text)
    path = found["path"] if found else "$"
    hint = text[: found.start()] if found and text.startswith(("Expected `", "Object miss")) else ""
    return InputError(f"not a FHIR R4 {kind.__name__}, see {path}", hint=hint)


Shape = Mapping[str, "Shape"]
"""Fields of an object that can hold objects, and the shape of those; others map to nothing."""

_LEAF: Final[Shape] = {}
_TAG: Final = "resourceType"


def _shape(node: msgspec.inspect.Type) -> Shape:
    """Return the shape of a type: a struct's fields, an array's items, a union's members."""
    if isinstance(node, msgspec.inspect.StructType):
        fields = {field.encode_name: _shape(field.type) for field in node.fields}
        return {**fields, _TAG: _LEAF} if node.tag_field else fields
    if isinstance(node, msgspec.inspect.VarTupleType):
        return _shape(node.item_type)
    if isinstance(node, msgspec.inspect.UnionType):
        shapes = [_shape(member) for member in node.types]
        tagged = [m for m in node.types if isinstance(m, msgspec.inspect.StructType) and m.tag]
        if len(tagged) > 1:
            return {f"{_TAG}={m.tag}": _shape(m) for m in tagged}
        return next((shape for shape in shapes if shape), _LEAF)
    return _LEAF


_SHAPES: Final[dict[type, Shape]] = {
    kind: _shape(msgspec.inspect.type_info(kind)) for kind in _RESOURCES
}


class _Pruner:
    """Copies only what the structs know; recursion is as deep as the structs, not the document."""

    def __init__(self) -> None:
        self.ignored = 0

    def prune(self, value: Any, shape: Shape) -> Any:
        if not shape:
            return value
        if isinstance(value, list):
            return [self.prune(item, shape) for item in cast("list[Any]", value)]
        if isinstance(value, dict):
            return self._object(cast("dict[str, Any]", value), shape)
        return value

    def _object(self, value: dict[str, Any], shape: Shape) -> dict[str, Any]:
        tagged = shape.get(f"{_TAG}={value.get(_TAG)}")
        shape = tagged if tagged is not None else shape
        known: dict[str, Any] = {}
        for name, item in value.items():
            inner = shape.get(name)
            if inner is not None:
                known[name] = self.prune(item, inner)
            elif name in _MUST_UNDERSTAND:
                raise InputError(f"a {name} that is not understood here must not be ignored")
            else:
                self.ignored += 1
        return known
