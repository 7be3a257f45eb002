"""A hub that breaks one requirement on purpose: `python -m asepsis.tools.testing.broken_hub`.

The real hub runs behind a layer that spoils one kind of its answers, or with weaker TLS, so that
every check of the conformance suite can be seen to fail. It is started by the suite's own tests on
loopback, with throw-away keys, and says on standard error what it is.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast

from asepsis.hub import run
from asepsis.hub.app import listeners
from asepsis.hub.web.listener import Listener
from asepsis.tools.testing.spoiling import STORED, Retell, Spoiler, Told
from asepsis.tools.testing.weakening import weaken_handshakes

HEADER: Final = "Asepsis-Breaks"
"""Of a request: the requirement that its answer shall break."""
EXIT_USAGE: Final = 5
_STORED: Final = 201


def accepting(*paths: str, status: int = _STORED, body: bytes = STORED) -> Spoiler:
    """Return what acknowledges everything that the hub refuses on these paths."""
    refusals = (400, 403, 409, 413, 415, 422, 429)
    return Spoiler(paths=paths, statuses=dict.fromkeys(refusals, status), body=body)


def silent_about(name: str, wanted: Callable[[Told], bool] = bool) -> Spoiler:
    """Return what leaves events of live views out."""

    def retell(event: str, told: Told) -> Told | None:
        return None if event == name and wanted(told) else told

    return Spoiler(paths=("/views/live",), retell=retell)


def saying(name: str, **instead: Any) -> Spoiler:
    """Return what changes fields of events of live views."""

    def retell(event: str, told: Told) -> Told:
        return told | instead if event == name else told

    return Spoiler(paths=("/views/live",), retell=retell)


def valuing(**instead: Any) -> Spoiler:
    """Return what changes fields of every value of live views."""

    def retell(event: str, told: Told) -> Told:
        if event != "numerics":
            return told
        return told | {"numerics": [value | instead for value in told["numerics"]]}

    return Spoiler(paths=("/views/live",), retell=retell)


def keeping(**instead: Any) -> Spoiler:
    """Return what changes fields of the records of consumer lanes."""
    return Spoiler(paths=("/consumers/",), reread=lambda record: record | instead)


def _by(cause: str) -> Callable[[Told], bool]:
    return lambda told: told["cause"] == cause


def _found_by(who: str) -> Callable[[Told], bool]:
    return lambda told: told["found_by"] == who


def _shortened(event: str, told: Told) -> Told:
    """Tell a value without its last decimal."""
    if event != "numerics":
        return told
    values = [v | {"value": v["value"] and v["value"].rstrip("0")} for v in told["numerics"]]
    return told | {"numerics": values}


SPOILED: Final[Mapping[str, Spoiler]] = {
    "REQ-TLS-009": Spoiler(statuses=dict.fromkeys((401, 403, 404), 200), body=b"{}"),
    "REQ-ID-006": Spoiler(paths=("/.well-known/est",), statuses={200: 500}),
    "REQ-ID-016": Spoiler(paths=("/api/devices",), unheard=True),
    "REQ-ID-020": Spoiler(paths=("/time",), statuses={200: 500}),
    "REQ-ID-021": accepting("/origin", "/alerts"),
    **dict.fromkeys(
        ("REQ-ORG-002", "REQ-ORG-004", "REQ-ORG-005", "REQ-ORG-011", "REQ-ORG-013"),
        accepting("/origin"),
    ),
    "REQ-ORG-003": silent_about("alarm", _by("gap")),
    "REQ-ORG-010": silent_about("waveform"),
    "REQ-ORG-012": saying("numerics", assurance="device-origin"),
    "REQ-ORG-014": silent_about("alarm", _by("gap")),
    "REQ-ORG-015": silent_about("alarm", _by("silence")),
    "REQ-ORG-017": accepting("/origin"),
    "REQ-ORG-018": accepting("/alerts", "/late"),
    "REQ-OBS-001": valuing(unit_code=1),
    "REQ-OBS-002": Spoiler(paths=("/views/live",), retell=cast("Retell", _shortened)),
    "REQ-OBS-003": valuing(value="0"),
    **dict.fromkeys(
        ("REQ-OBS-004", "REQ-OBS-006", "REQ-OBS-007", "REQ-OBS-008", "REQ-OBS-014"),
        accepting("/fhir"),
    ),
    "REQ-OBS-005": valuing(mdc_code=1),
    "REQ-OBS-009": Spoiler(paths=("/late",), statuses={201: 400, 200: 400}),
    "REQ-OBS-010": valuing(value="199"),
    "REQ-OBS-011": keeping(received_at_ns=0),
    "REQ-OBS-013": accepting("/origin"),
    "REQ-WAV-002": saying("waveform", scale=None),
    "REQ-WAV-004": accepting("/waveforms"),
    **dict.fromkeys(
        (
            *("REQ-ALM-001", "REQ-ALM-002", "REQ-ALM-004", "REQ-ALM-005", "REQ-ALM-016"),
            *("REQ-ALM-019", "REQ-ALM-021"),
        ),
        accepting("/alerts"),
    ),
    "REQ-ALM-003": silent_about("alarm", lambda told: told["phase"] == "change"),
    "REQ-ALM-008": keeping(body=""),
    "REQ-ALM-010": silent_about("alarm", _found_by("hub")),
    "REQ-ALM-011": saying("alarm", priority="low"),
    "REQ-ALM-012": saying("alarm", condition_id="000000c1", phase="onset"),
    "REQ-ALM-013": saying("alarm", found_by="device", unknown_since_ns=None),
    "REQ-ALM-015": silent_about("alarm", lambda told: told["phase"] == "end"),
    "REQ-ALM-017": saying("alarm", unknown_since_ns=None),
    "REQ-ALM-020": silent_about("alarm", _found_by("hub")),
    "REQ-MSG-001": keeping(body=""),
    "REQ-MSG-002": accepting("/hl7v2", status=200, body=b"MSH|^~\\&|H\rMSA|AA|X1\r"),
    "REQ-MSG-003": accepting("/hl7v2"),
    "REQ-MSG-008": Spoiler(paths=("/hl7v2",), statuses={200: 400}),
    "REQ-MSG-010": accepting("/hl7v2", status=200),
    "REQ-MSG-011": silent_about("numerics"),
    "REQ-MSG-012": valuing(value="77"),
    "REQ-IMG-001": Spoiler(paths=("/dicom-web",), ending="/instances", statuses={200: 404}),
    "REQ-IMG-002": Spoiler(paths=("/dicom-web/studies/",), recast=lambda part: part[::-1]),
    "REQ-IMG-005": Spoiler(paths=("/dicom-web",), statuses={401: 200, 403: 200}),
    **dict.fromkeys(
        ("REQ-IMG-004", "REQ-IMG-007", "REQ-IMG-008"),
        accepting("/dicom-web", status=200, body=b'{"00081199":{"vr":"SQ","Value":[]}}'),
    ),
    "REQ-SUB-001": Spoiler(paths=("/consumers/",), ending="/commit", unheard=True),
    "REQ-SUB-002": Spoiler(paths=("/views/live",), statuses={200: 404}),
    "REQ-SUB-004": silent_about("stale"),
    "REQ-ERR-001": keeping(body=""),
    "REQ-ERR-002": keeping(body=""),
    "REQ-ERR-003": Spoiler(drop_headers=frozenset({b"content-type"})),
    "REQ-ERR-005": Spoiler(drop_headers=frozenset({b"retry-after"})),
}
"""Requirement -> what the hub does instead."""


def break_what_stands_in(file: Path) -> None:
    """Arrange that hubs which start in this process break what they are told to.

    What weakens TLS is named by the file at the handshake. What spoils an answer is named by a
    header of its request, so that several suites can try one hub at once, or by the file.

    Args:
        file: Holds the id of one requirement, or nothing.
    """
    weaken_handshakes(lambda: _named_in(file))

    def spoiled(*, app: Any, **more: Any) -> Listener:
        async def chosen(scope: Any, receive: Any, send: Any) -> None:
            named = dict(scope.get("headers", ())).get(HEADER.lower().encode(), b"").decode()
            spoiler = SPOILED.get(named or _named_in(file))
            await (spoiler.wrap(app) if spoiler else app)(scope, receive, send)

        return Listener(app=cast("Any", chosen), **more)

    listeners.Listener = cast("Any", spoiled)  # broken on purpose


def _named_in(file: Path) -> str:
    return file.read_text("ascii").strip()


def main(arguments: list[str]) -> int:
    """Run a hub that breaks what the first file names; the second holds its settings."""
    wanted = 2
    if len(arguments) != wanted or not Path(arguments[0]).exists():
        sys.stderr.write("usage: broken_hub FILE-WITH-REQUIREMENT hub.toml\n")
        return EXIT_USAGE
    sys.stderr.write(f"this hub breaks on purpose what stands in {arguments[0]}\n")
    break_what_stands_in(Path(arguments[0]))
    return run.main([arguments[1]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
