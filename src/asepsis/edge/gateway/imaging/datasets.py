"""Data sets of queries and steps: DICOM's bytes to DICOM JSON and back; no image passes here.

Values stay as they were written: decimal and integer strings keep their text, and the character
set of the writer goes along, for a modality that reads no other.

Source: DICOM PS3.5 section 7; PS3.18 annex F.
"""

import io
import warnings
from typing import Any, Final, cast

from pydicom import config as pydicom_config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from asepsis.core.errors import FramingError, InputError, LimitExceeded
from asepsis.core.wire.relay import DataSet
from asepsis.edge.gateway.imaging.services import IMPLICIT

DATA_BYTES_MAX: Final = 524_288
"""Largest data set of a query, match or step."""
DEPTH_MAX: Final = 16
CHARSET: Final = 0x00080005
UNICODE: Final = "ISO_IR 192"
_TEXT_NUMBERS: Final = frozenset({"DS", "IS"})


def decode(data: bytes, syntax: str) -> tuple[DataSet, str]:
    """Return a data set as DICOM JSON, and its character set.

    Args:
        data: The encoded data set.
        syntax: Implicit or Explicit VR Little Endian.

    Raises:
        FramingError: It cannot be read.
        LimitExceeded: Longer or deeper than such a data set may be.
    """
    if len(data) > DATA_BYTES_MAX:
        raise LimitExceeded(f"a data set of over {DATA_BYTES_MAX} bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = read_dataset(
                io.BytesIO(data), is_implicit_VR=syntax == IMPLICIT, is_little_endian=True
            )
            charset = _charset(found)
            if CHARSET in found:
                found.decode()
                del found[CHARSET]
            document = _document(found, 0)
    except LimitExceeded:
        raise
    except Exception as error:  # pydicom raises what it likes at a stranger's bytes.
        raise FramingError("a data set that cannot be read") from error
    return document, charset


def encode(document: DataSet, charset: str, syntax: str) -> bytes:
    """Return the bytes of a data set.

    Args:
        document: DICOM JSON.
        charset: What text is written in; Unicode if it does not fit into that.
        syntax: Implicit or Explicit VR Little Endian.

    Raises:
        InputError: No DICOM JSON, or longer than such a data set may be.
    """
    try:
        return _encode(document, charset, syntax)
    except LimitExceeded:
        raise
    except Exception as first:
        # pydicom raises what it likes; text that the character set lacks is one of its reasons.
        if charset == UNICODE:
            raise InputError("a data set that cannot be written") from first
    try:
        return _encode(document, UNICODE, syntax)
    except LimitExceeded:
        raise
    except Exception as error:  # As above.
        raise InputError("a data set that cannot be written") from error


def _encode(document: DataSet, charset: str, syntax: str) -> bytes:
    # A character that is not there must be an error, never a question mark in a name.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Dataset.from_json(document)
        _restore_text(found, document)
        if charset:
            found.SpecificCharacterSet = charset.split("\\")
        file = DicomBytesIO()
        file.is_little_endian, file.is_implicit_VR = True, syntax == IMPLICIT
        write_dataset(file, found)
    data = file.getvalue()
    if len(data) > DATA_BYTES_MAX:
        raise LimitExceeded(f"a data set of over {DATA_BYTES_MAX} bytes")
    return data


def _restore_text(found: Dataset, document: DataSet) -> None:
    """Write numbers that are text as they were: pydicom made numbers of them."""
    for key, element in document.items():
        values, tag = element.get("Value"), int(key, 16)
        if not values:
            continue
        if element["vr"] == "SQ":
            for item, inner in zip(found[tag].value, values, strict=True):
                _restore_text(item, inner)
        elif element["vr"] in _TEXT_NUMBERS:
            texts = [str(value) for value in values]
            found[tag] = DataElement(tag, element["vr"], texts[0] if len(texts) == 1 else texts)


def _charset(found: Dataset) -> str:
    value: Any = found.get("SpecificCharacterSet", "")
    return value if isinstance(value, str) else "\\".join(str(part) for part in value or ())


def _document(found: Dataset, depth: int) -> DataSet:
    """Return DICOM JSON in which numbers that are text keep it."""
    if depth > DEPTH_MAX:
        raise LimitExceeded(f"sequences deeper than {DEPTH_MAX}")
    document: DataSet = {}
    for element in found:
        if element.tag.element == 0:
            continue  # Group lengths are made anew.
        key = f"{element.tag:08X}"
        if isinstance(element.value, Sequence):
            items = [_document(item, depth + 1) for item in element.value]
            document[key] = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
        elif element.VR in _TEXT_NUMBERS and element.value not in (None, ""):
            values: Any = element.value if element.VM > 1 else [element.value]
            document[key] = {"vr": element.VR, "Value": [str(value) for value in values]}
        else:
            document[key] = _plain(element.to_json_dict(None, DATA_BYTES_MAX))
    return document


def _plain(element: DataSet) -> DataSet:
    """Return an element whose strings are of no class of pydicom's."""
    values: Any = element.get("Value")
    if isinstance(values, list):
        found = cast("list[Any]", values)
        element["Value"] = [str(one) if isinstance(one, str) else one for one in found]
    return element


def preload() -> None:
    """Load what pydicom loads at its first data set, and let it take what modalities write."""
    pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE
    pydicom_config.settings.writing_validation_mode = pydicom_config.IGNORE
    name = {"vr": "PN", "Value": [{"Alphabetic": "M\u00fcller^J\u00fcrgen"}]}
    decode(encode({"00100010": name}, "ISO_IR 100", IMPLICIT), IMPLICIT)
