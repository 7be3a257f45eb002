"""Names of HL7 v2 fields, so that a finding can be read without the standard beside it.

Source: HL7 v2.8.2 chapters 2 (MSH), 3 (EVN, PID, PV1, MRG), 4 (OBR) and 7 (OBX, PRT); names only.
"""

from collections.abc import Mapping
from typing import Final

from asepsis.core.compliance.verdict import Rule
from asepsis.core.wire.hl7_parts import Path

OF_VALUE: Final[Mapping[Rule, int]] = {Rule.CODE: 3, Rule.METRIC: 3, Rule.UNIT: 6, Rule.RANGE: 5}
"""Field of OBX that a finding about a number is about."""

NAMES: Final[Mapping[str, str]] = {
    "MSH-3": "sending application",
    "MSH-4": "sending facility",
    "MSH-5": "receiving application",
    "MSH-6": "receiving facility",
    "MSH-7": "time of message",
    "MSH-9": "message type",
    "MSH-10": "message control id",
    "MSH-11": "processing id",
    "MSH-12": "version",
    "MSH-15": "accept acknowledgement type",
    "MSH-16": "application acknowledgement type",
    "MSH-18": "character set",
    "MSH-21": "message profile",
    "EVN-2": "recorded time",
    "EVN-6": "time the event occurred",
    "PID-2": "patient id (withdrawn)",
    "PID-3": "patient identifier list",
    "PID-5": "patient name",
    "PID-7": "date of birth",
    "PID-8": "administrative sex",
    "PID-18": "patient account number",
    "PV1-2": "patient class",
    "PV1-3": "assigned patient location",
    "PV1-6": "prior patient location",
    "PV1-19": "visit number",
    "PV1-44": "admit time",
    "PV1-45": "discharge time",
    "MRG-1": "prior patient identifier list",
    "OBR-2": "placer order number",
    "OBR-3": "filler order number",
    "OBR-4": "universal service identifier",
    "OBR-7": "observation time",
    "OBR-25": "result status",
    "OBX-2": "value type",
    "OBX-3": "observation identifier",
    "OBX-4": "observation sub-id",
    "OBX-5": "observation value",
    "OBX-6": "units",
    "OBX-7": "reference range",
    "OBX-8": "interpretation codes",
    "OBX-11": "result status",
    "OBX-14": "time of the observation",
    "OBX-18": "equipment instance identifier",
    "PRT-10": "participation device",
}


def name_of(path: str) -> str:
    """Return what people call a field, such as `patient identifier list` for `PID-3`; "" if rare.

    Args:
        path: As findings write it; an occurrence in brackets and parts of the field are ignored.

    Source: HL7 v2.8.2, field names of the segment tables.
    """
    segment, _, rest = path.partition("-")
    number = rest.partition(".")[0].partition("[")[0]
    return NAMES.get(f"{segment[:3]}-{number}", "")


def named(place: Path, occurrence: int = 0) -> str:
    """Return the path of an element of one of several segments; 0 where there is only one."""
    repeated = f"[{occurrence}]" if occurrence else ""
    component = f".{place.component}" if place.component else ""
    return f"{place.segment.decode()}{repeated}-{place.field}{component}"
