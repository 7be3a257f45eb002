"""Reads attributes of an object that has been walked; the only place that loads pydicom.

Source: DICOM PS3.18 table 10.6.1-5 (what a search matches) and annex F (DICOM JSON).
"""

import io
import json
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, cast

import pydicom
from pydicom import config as pydicom_config
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from asepsis.core.errors import InputError
from asepsis.core.wire.dicom_facts import Facts, ObjectRefusedError, Reason
from asepsis.core.wire.dicom_facts import Source as ObjectSource
from asepsis.core.wire.dicom_file import EXPLICIT

ATTRIBUTES_BYTES_MAX: Final = 16_384
"""Attributes of one object that searches keep."""
METADATA_BYTES_MAX: Final = 2 << 20
INLINE_BYTES_MAX: Final = 8_192
"""Longest binary value that stands in metadata."""

STUDY: Final = (
    "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "PatientName",
    "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID",
    "StudyID", "StudyDescription", "TimezoneOffsetFromUTC",
)  # fmt: skip
SERIES: Final = (
    "Modality", "SeriesDescription", "SeriesInstanceUID", "SeriesNumber",
    "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime",
    "RequestAttributesSequence", "BodyPartExamined",
)  # fmt: skip
INSTANCE: Final = (
    "SOPClassUID", "SOPInstanceUID", "InstanceNumber", "Rows", "Columns", "BitsAllocated",
    "NumberOfFrames",
)  # fmt: skip
_WANTED: Final = tuple(
    Tag(keyword) for keyword in ("SpecificCharacterSet", *STUDY, *SERIES, *INSTANCE)
)
R = TypeVar("R")
_BULK_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})


class SourceFile(io.RawIOBase):
    """An object as a file that pydicom reads.

    Args:
        source: Its bytes.
        start: Where the file begins in them.
    """

    name = ""
    """What pydicom asks of a buffered file; it is on no disk."""

    def __init__(self, source: ObjectSource, start: int = 0) -> None:
        super().__init__()
        self._source = source
        self._start = start
        self._at = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be sought in."""
        return True

    def tell(self) -> int:
        """Return the place."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the place."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at}.get(whence, self._length())
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer as far as the object goes."""
        view = memoryview(buffer)
        data = self._source.read(self._start + self._at, len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _length(self) -> int:
        return self._source.length - self._start


def configure() -> None:
    """Let pydicom take what devices write: the walk has judged it, and values are only shown."""
    pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE
    pydicom_config.convert_wrong_length_to_UN = True


def index_attributes(source: ObjectSource, facts: Facts) -> tuple[Dataset, bytes]:
    """Return the data set of what searches need, and the same as DICOM JSON.

    Raises:
        ObjectRefusedError: The values cannot be read, or are too long.
    """
    data = _sealed_call(lambda: _read(source, facts, _WANTED))
    body = _json(data, ATTRIBUTES_BYTES_MAX)
    return data, body


def metadata(source: ObjectSource, facts: Facts) -> tuple[Dataset, bytes]:
    """Return every element but bulk data, and the same as DICOM JSON.

    Raises:
        ObjectRefusedError: The values cannot be read, or are too long.
    """
    data = _sealed_call(lambda: _read(source, facts, None))
    _sealed_call(lambda: _drop_bulk(data))
    return data, _json(data, METADATA_BYTES_MAX)


def _read(source: ObjectSource, facts: Facts, wanted: Sequence[BaseTag] | None) -> Dataset:
    file: Any = io.BufferedReader(SourceFile(source), 65_536)
    if facts.inflated is not None:
        file = _bare(facts.inflated)
    tags: Any = wanted and list(wanted)
    read = cast("Any", pydicom).dcmread
    found: Dataset = read(
        file, stop_before_pixels=True, specific_tags=tags, defer_size=INLINE_BYTES_MAX
    )
    return Dataset({tag: found[tag] for tag in list(found.keys()) if _is_small(found, tag)})


def _bare(data_set: bytes) -> io.BytesIO:
    """Put file meta information before a data set that was inflated."""
    value = EXPLICIT.encode() + b"\x00" * (len(EXPLICIT) % 2)
    element = b"\x02\x00\x10\x00UI" + len(value).to_bytes(2, "little") + value
    group = b"\x02\x00\x00\x00UL\x04\x00" + len(element).to_bytes(4, "little")
    return io.BytesIO(bytes(128) + b"DICM" + group + element + data_set)


def _is_small(data: Dataset, tag: Any) -> bool:
    raw = cast("Any", data).get_item(tag, keep_deferred=True)
    length: int = getattr(raw, "length", 0)
    return raw.VR == "SQ" or length == 0xFFFFFFFF or length <= INLINE_BYTES_MAX


def _drop_bulk(data: Dataset) -> None:
    for element in list(data):
        if element.VR == "SQ":
            for item in element.value:
                _drop_bulk(item)
        elif element.VR in _BULK_VRS and len(element.value or b"") > INLINE_BYTES_MAX:
            del data[element.tag]


def _json(data: Dataset, bytes_max: int) -> bytes:
    def render() -> bytes:
        found = data.to_json_dict(
            bulk_data_threshold=1 << 62, suppress_invalid_tags=True, bulk_data_element_handler=None
        )
        if "00080005" in found:
            # JSON is UTF-8, whatever the object's own character sets are.
            found["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}
        return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode("utf-8")

    body = _sealed_call(render)
    if len(body) > bytes_max:
        raise ObjectRefusedError(Reason.UNREADABLE)
    return body


def _sealed_call(call: Callable[[], R]) -> R:
    try:
        return call()
    except InputError:
        raise
    except Exception as error:
        # pydicom raises whatever a strange value led it to; the object is refused all the same.
        raise ObjectRefusedError(Reason.UNREADABLE) from error
