"""Which requirements nobody can see from outside, and why; nothing is left out in silence.

`tests/conformance` compares these tables and the checks with the standard: every requirement stands
in exactly one of them for a hub, and in exactly one for a device.
"""

from collections.abc import Mapping
from typing import Final

OF_A_DEVICE: Final = "it binds devices; `asepsis conform device` looks at it"
OF_A_HUB: Final = "it binds hubs; `asepsis conform hub` looks at it"
INSIDE: Final = "it concerns what happens inside; no message shows it"
TAKES_DAYS: Final = "it shows only after hours or days"
NEEDS_FAULTS: Final = "it shows only under faults that a visitor cannot cause"
OF_A_PAIR: Final = "it binds a hub and two gateways that are a pair; a visitor is one gateway"
_PAIR: Final = tuple(f"REQ-PAIR-{number:03}" for number in range(1, 7))
NOT_YET: Final = "the suite does not try this section yet"
SECTIONS_LEFT_OUT: Final[Mapping[str, str]] = {"REQ-UPD-*": NOT_YET}
"""Whole sections of the standard that no check looks at."""

HUB: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            *("REQ-TLS-005", "REQ-TLS-008", "REQ-ID-002", "REQ-ID-007", "REQ-ID-008"),
            *("REQ-ID-018", "REQ-ID-019", "REQ-ORG-001", "REQ-ORG-006", "REQ-ORG-007"),
            *("REQ-ORG-008", "REQ-ORG-009", "REQ-OBS-015", "REQ-WAV-001", "REQ-WAV-003"),
            *("REQ-WAV-006", "REQ-ALM-006", "REQ-ALM-007", "REQ-ALM-009", "REQ-ALM-014"),
            *("REQ-ALM-018", "REQ-ERR-004"),
        ),
        OF_A_DEVICE,
    ),
    **dict.fromkeys(
        ("REQ-MSG-004", "REQ-MSG-005", "REQ-MSG-006", "REQ-MSG-007", "REQ-MSG-009"),
        "it binds gateways",
    ),
    **dict.fromkeys(_PAIR, OF_A_PAIR),
    **dict.fromkeys(("REQ-ID-015", "REQ-ID-017", "REQ-ID-022"), TAKES_DAYS),
    **dict.fromkeys(("REQ-ERR-006", "REQ-SUB-003"), NEEDS_FAULTS),
    "REQ-TLS-004": "the TLS library of this suite cannot send early data",
    "REQ-ID-011": "it takes a maker's CA that the hospital trusts",
    "REQ-ID-023": "it takes a device with a TPM of the suite's own, and a person who binds it",
    "REQ-ID-024": OF_A_DEVICE,
    "REQ-OBS-012": INSIDE,
    "REQ-OBS-016": "REQ-ID-021 looks at who may speak for whom; the suite has no such device",
    "REQ-IMG-003": "it takes an archive of the suite's own behind the hub",
    "REQ-IMG-006": TAKES_DAYS,
    "REQ-WAV-005": "it concerns pictures; the frames of a stream show their own gaps",
    "REQ-SUB-005": "REQ-ID-016 looks at it with the same revocation",
}
DEVICE: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            *("REQ-TLS-003", "REQ-TLS-006", "REQ-TLS-007", "REQ-TLS-009", "REQ-TLS-010"),
            *("REQ-ID-003", "REQ-ID-005", "REQ-ID-006", "REQ-ID-009", "REQ-ID-010", "REQ-ID-011"),
            *("REQ-ID-012", "REQ-ID-014", "REQ-ID-016", "REQ-ID-017", "REQ-ID-020", "REQ-ID-021"),
            *("REQ-ID-022", "REQ-ID-023", "REQ-ORG-010", "REQ-ORG-011", "REQ-ORG-012"),
            "REQ-ORG-013",
            *("REQ-ORG-014", "REQ-ORG-015", "REQ-ORG-016", "REQ-ORG-017", "REQ-ORG-018"),
            *("REQ-OBS-004", "REQ-OBS-005", "REQ-OBS-007", "REQ-OBS-010", "REQ-OBS-011"),
            *("REQ-OBS-012", "REQ-OBS-013", "REQ-OBS-014", "REQ-OBS-016", "REQ-WAV-002"),
            "REQ-WAV-004",
            *("REQ-WAV-005", "REQ-ALM-001", "REQ-ALM-002", "REQ-ALM-004", "REQ-ALM-005"),
            *("REQ-ALM-008", "REQ-ALM-011", "REQ-ALM-013", "REQ-ALM-015", "REQ-ALM-016"),
            *("REQ-ALM-017", "REQ-SUB-001", "REQ-SUB-002", "REQ-SUB-003", "REQ-SUB-004"),
            *("REQ-SUB-005", "REQ-ERR-001", "REQ-ERR-003", "REQ-ERR-006", "REQ-ERR-007"),
        ),
        OF_A_HUB,
    ),
    **dict.fromkeys(
        (f"REQ-MSG-{number:03}" for number in range(1, 13)),
        "it binds gateways and hubs",
    ),
    **dict.fromkeys(
        (f"REQ-IMG-{number:03}" for number in range(1, 9)),
        "it binds gateways, archives and hubs; the device of a trial sends no images",
    ),
    "REQ-ALM-020": "it binds gateways",
    "REQ-ID-024": "the device of a trial has no operator",
    **dict.fromkeys(_PAIR, OF_A_PAIR),
    **dict.fromkeys(("REQ-ID-013", "REQ-ID-015"), TAKES_DAYS),
    **dict.fromkeys(("REQ-ERR-004", "REQ-ERR-005", "REQ-ID-018", "REQ-ID-019"), NEEDS_FAULTS),
    **dict.fromkeys(
        (
            *("REQ-ID-002", "REQ-ID-004", "REQ-ID-007", "REQ-OBS-002", "REQ-OBS-003"),
            *("REQ-WAV-006", "REQ-ALM-003", "REQ-ALM-006", "REQ-ALM-007", "REQ-ALM-009"),
            *("REQ-ALM-010", "REQ-ALM-012", "REQ-ALM-018"),
        ),
        INSIDE,
    ),
    **dict.fromkeys(
        ("REQ-OBS-006", "REQ-OBS-008", "REQ-OBS-015", "REQ-ALM-019", "REQ-ALM-021"),
        "it binds sources without an origin key; the device of a trial has one",
    ),
}
