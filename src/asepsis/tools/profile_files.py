"""Messages, bundles and objects in files and captures, and their verdicts against a profile."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asepsis.core.compliance.dicom import ObjectFacts, judge_object
from asepsis.core.compliance.fhir import FhirJudge
from asepsis.core.compliance.hl7 import Hl7Judge
from asepsis.core.compliance.learn import messages_in
from asepsis.core.compliance.profile import PROFILE_BYTES_MAX, Interface, Profile, read_profile
from asepsis.core.compliance.verdict import Finding, Rule, Verdict
from asepsis.core.errors import InputError, NotFound
from asepsis.core.wire.pcap import CAPTURE_BYTES_MAX, tcp_streams

FILES_MAX: Final = 100_000
FILE_BYTES_MAX: Final = 64 * 1024 * 1024
CAPTURES: Final = frozenset({".pcap", ".pcapng", ".cap"})
_MLLP: Final = b"\x0b"


@dataclass(frozen=True, slots=True)
class Judged:
    """One message, bundle or object.

    Attributes:
        name: File, and which message of it.
        verdict: What was found.
    """

    name: str
    verdict: Verdict


def load_profile(path: Path) -> Profile:
    """Read a profile file.

    Raises:
        NotFound: No such file.
        InputError: Not a profile.
    """
    return read_profile(_read(path, PROFILE_BYTES_MAX + 1))


def bodies_of(paths: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of every message in files, folders and captures.

    A file with MLLP blocks has one message in each block; a capture has those of all its streams.

    Raises:
        NotFound: No such file.
        InputError: Not a capture that can be read, or a file too large.
    """
    for path in _files(paths):
        if path.suffix.lower() in CAPTURES:
            streams = tcp_streams(_read(path, CAPTURE_BYTES_MAX))
            found = [body for piece in streams.pieces for body in messages_in(piece.data)]
        else:
            whole = _read(path, FILE_BYTES_MAX)
            found = list(messages_in(whole)) if whole.startswith(_MLLP) else [whole]
        for number, body in enumerate(found, start=1):
            yield (path.name if len(found) == 1 else f"{path.name}#{number}"), body


def judge_files(profile: Profile, paths: Iterable[Path]) -> Iterator[Judged]:
    """Judge everything in files, folders and captures.

    Raises:
        NotFound: No such file.
        InputError: Not a capture that can be read, or a file too large.
    """
    if profile.interface is Interface.DICOM:
        for path in _files(paths):
            yield Judged(path.name, _object(profile, path))
        return
    judge = FhirJudge(profile) if profile.interface is Interface.FHIR else Hl7Judge(profile)
    for name, body in bodies_of(paths):
        yield Judged(name, judge.body(body))


def _object(profile: Profile, path: Path) -> Verdict:
    # Only here: a large library that most commands need not load.
    import pydicom  # noqa: PLC0415
    from pydicom.errors import InvalidDicomError  # noqa: PLC0415

    try:
        data = pydicom.dcmread(  # pyright: ignore[reportUnknownMemberType]
            path, stop_before_pixels=True, defer_size=4_096
        )
        meta = data.file_meta
        facts = ObjectFacts(
            sop_class=str(data.get("SOPClassUID", "")),
            transfer_syntax=str(meta.get("TransferSyntaxUID", "")),
            present=frozenset(element.keyword for element in data if not element.is_empty),
            header_bytes=0,
        )
    except (InvalidDicomError, OSError, ValueError, AttributeError, NotImplementedError, KeyError):
        reason = "not a DICOM file that can be read"
        return Verdict.of((Finding(Rule.FRAMING, profile.severity(Rule.FRAMING), reason),))
    return judge_object(profile, facts)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    count = 0
    for path in paths:
        found = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for each in found:
            count += 1
            if count > FILES_MAX:
                raise InputError(f"more than {FILES_MAX} files")
            yield each


def _read(path: Path, bytes_max: int) -> bytes:
    try:
        if path.stat().st_size > bytes_max:
            raise InputError(f"{path.name} has more than {bytes_max} bytes")
        return path.read_bytes()
    except OSError as error:
        raise NotFound(f"cannot read {path}") from error
