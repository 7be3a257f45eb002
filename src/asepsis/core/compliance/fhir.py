"""Judges FHIR bundles against a profile: resource types, required elements, numbers. Never raises.

Source: HL7 FHIR R4 (JSON); HL7 PoCD NumericObservation (MDC codes, UCUM units).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, cast

import msgspec

from asepsis.core.compliance.profile import Profile, Required
from asepsis.core.compliance.values import UNKNOWN_UNIT, ValueJudge
from asepsis.core.compliance.verdict import Finding, Rule, Severity, Verdict

MDC_SYSTEM: Final = "urn:iso:std:iso:11073:10101"
UCUM_SYSTEM: Final = "http://unitsofmeasure.org"
ENTRIES_MAX: Final = 2_000
COMPONENTS_MAX: Final = 200
CODE_DIGITS_MAX: Final = 10
_DECODE: Final = msgspec.json.Decoder(float_hook=Decimal)


@dataclass(slots=True)
class FhirJudge:
    """Judges the bundles of one profile; it belongs to one thread.

    Attributes:
        profile: What the device declares.
    """

    profile: Profile
    values: ValueJudge = field(init=False)

    def __post_init__(self) -> None:
        self.values = ValueJudge(self.profile)

    def body(self, body: bytes) -> Verdict:
        """Judge a Bundle, or one resource, as JSON."""
        if len(body) > self.profile.bytes_max:
            reason = f"{len(body)} bytes, the device declares {self.profile.bytes_max}"
            return Verdict.of((self._found(Rule.SIZE, reason),))
        try:
            document = _DECODE.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            return Verdict.of((self._found(Rule.FRAMING, "not JSON"),))
        if not isinstance(document, dict):
            return Verdict.of((self._found(Rule.FRAMING, "not a resource"),))
        found: list[Finding] = []
        for index, resource in enumerate(_resources(cast("dict[str, Any]", document))):
            found += self._resource(resource, f"entry[{index}]")
        return Verdict.of(found)

    def _resource(self, resource: Mapping[str, Any], where: str) -> Iterator[Finding]:
        kind = str(resource.get("resourceType", ""))
        if self.profile.types and kind not in self.profile.types:
            yield self._found(Rule.MESSAGE_TYPE, "not a type that the device declares", where)
        for rule in self.profile.required:
            yield from _missing(resource, kind, rule, where)
        if kind != "Observation":
            return
        yield from self._observed(resource, where)
        for component in _mappings(resource.get("component"))[:COMPONENTS_MAX]:
            yield from self._observed(component, where)

    def _observed(self, observed: Mapping[str, Any], where: str) -> Iterator[Finding]:
        quantity = observed.get("valueQuantity")
        if not isinstance(quantity, dict):
            return
        mdc_code = _mdc(observed.get("code"))
        if mdc_code is None:
            yield self._found(Rule.CODE, "no code of MDC", where)
            return
        said = cast("dict[str, Any]", quantity)
        for found in self.values.value(mdc_code, _unit(said), _number(said.get("value"))):
            yield Finding(found.rule, found.severity, found.reason, where)

    def _found(self, rule: Rule, reason: str, where: str = "") -> Finding:
        return Finding(rule, self.profile.severity(rule), reason, where)


def _resources(document: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    if document.get("resourceType") != "Bundle":
        return (document,)
    entries = _mappings(document.get("entry"))[:ENTRIES_MAX]
    return [
        cast("dict[str, Any]", entry["resource"])
        for entry in entries
        if isinstance(entry.get("resource"), dict)
    ]


def _mappings(found: object) -> list[Mapping[str, Any]]:
    if not isinstance(found, list):
        return []
    return [
        cast("dict[str, Any]", one) for one in cast("list[object]", found) if isinstance(one, dict)
    ]


def _missing(
    resource: Mapping[str, Any], kind: str, rule: Required, where: str
) -> Iterator[Finding]:
    named, *path = rule.at.split(".")
    if named != kind or (rule.types and kind not in rule.types):
        return
    found: object = resource
    for step in path:
        if isinstance(found, list):
            some = cast("list[object]", found)
            found = some[0] if some else None
        found = cast("dict[str, object]", found).get(step) if isinstance(found, dict) else None
    if found in (None, "", [], {}):
        yield Finding(Rule.REQUIRED, Severity.named(rule.severity), f"no {rule.at}", where)


def _mdc(concept: object) -> int | None:
    if not isinstance(concept, dict):
        return None
    for coding in _mappings(cast("dict[str, object]", concept).get("coding")):
        code = coding.get("code")
        if coding.get("system") == MDC_SYSTEM and isinstance(code, str):
            plain = code.isascii() and code.isdigit() and len(code) <= CODE_DIGITS_MAX
            if plain and 0 < int(code) <= 0xFFFFFFFF:
                return int(code)
    return None


def _unit(quantity: Mapping[str, Any]) -> str:
    code = quantity.get("code")
    if quantity.get("system") == UCUM_SYSTEM and isinstance(code, str):
        return code
    return UNKNOWN_UNIT


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Decimal(value)
    return value if isinstance(value, Decimal) else None
