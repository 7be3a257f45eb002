"""What the reads of the record can do, in the words of a CapabilityStatement; made of their routes.

Source: HL7 FHIR R4 CapabilityStatement.rest.resource; Observation operation lastn.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from asepsis.core.wire.fhir import (
    Interaction,
    ResourceOperation,
    RestResource,
    SearchParam,
)
from asepsis.hub.records import params

BASE: Final = "/fhir/"
LASTN: Final = "http://hl7.org/fhir/OperationDefinition/Observation-lastn"
Kind = Literal["number", "date", "string", "token", "reference", "uri", "special"]
_TYPES: Final[Mapping[str, Kind]] = {
    "device": "reference",
    "source": "reference",
    "patient": "token",
    "code": "token",
    "date": "date",
    "_lastUpdated": "date",
    "_profile": "uri",
    "_count": "number",
}
"""Type of each parameter that is one of the standard; ours and `_format` stand in no statement."""
SEARCHED: Final[Mapping[str, frozenset[str]]] = {
    "Observation": params.SEARCH,
    "DeviceMetric": params.METRICS,
    "Device": params.DEVICES,
}
"""Parameters of each search."""


def readable(paths: Iterable[str]) -> tuple[RestResource, ...]:
    """Return what can be read at these paths, by type; paths that are not FHIR say nothing.

    Args:
        paths: Of GET routes, such as `/fhir/Device/{id}`.
    """
    found: dict[str, set[str]] = {}
    for path in paths:
        if path.startswith(BASE):
            kind, _, rest = path.removeprefix(BASE).partition("/")
            found.setdefault(kind, set()).add(rest)
    return tuple(_resource(kind, rests) for kind, rests in sorted(found.items()))


def _resource(kind: str, rests: set[str]) -> RestResource:
    codes = [code for rest, code in (("{id}", "read"), ("", "search-type")) if rest in rests]
    searched = SEARCHED[kind] if "" in rests else frozenset[str]()
    return RestResource(
        type=kind,
        interaction=tuple(Interaction(code=code) for code in codes),
        search_param=tuple(
            SearchParam(name=name, type=_TYPES[name]) for name in sorted(searched & _TYPES.keys())
        ),
        operation=(ResourceOperation(name="lastn", definition=LASTN),) if "$lastn" in rests else (),
    )
