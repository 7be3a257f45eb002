"""Images without the patient: attributes are emptied, removed or replaced, and may travel sealed.

The rules are those of the Basic Application Level Confidentiality Profile and go beyond it: of free
text only what is listed here as technical stays, every private element goes, and every UID that
could lead back is replaced by one that the same secret always makes of it. What was changed stands
in the Encrypted Attributes Sequence for whoever holds the recipient's key. Pixels are not looked
at: text burned into them stays.

Source: DICOM PS3.15 annex E (profiles), E.1.1 and E.1.2 (de-identifier, re-identifier).
"""

import hashlib
import hmac
import io
from collections.abc import Callable
from typing import Any, Final, cast

import pydicom
from pydicom import filereader
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence as Items

from asepsis.core.errors import AsepsisError, InputError

METHOD: Final = "Basic Application Level Confidentiality Profile"
OBJECT_BYTES_MAX: Final = 1 << 30
_EXPLICIT: Final = "1.2.840.10008.1.2.1"

_EMPTIED: Final = frozenset(
    {
        "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
        "ContentDate", "ContentTime", "AccessionNumber", "StudyID", "ReferringPhysicianName",
        "PatientOrientation",
    }
)  # fmt: skip
"""Attributes that a standard object must have: they stay without a value."""
_REMOVED: Final = frozenset(
    {
        "PatientSize", "PatientWeight", "PatientSexNeutered", "SmokingStatus", "PregnancyStatus",
        "ResponsiblePersonRole", "RequestAttributesSequence", "ReferencedPatientSequence",
        "OtherPatientIDsSequence", "ReferencedStudySequence", "PatientSpeciesCodeSequence",
        "TimezoneOffsetFromUTC", "IconImageSequence", "OriginalAttributesSequence",
        "DigitalSignaturesSequence", "MACParametersSequence", "OverlayData",
        "EncryptedAttributesSequence",
    }
)  # fmt: skip
_KEPT_TEXT: Final = frozenset(
    {
        "SpecificCharacterSet", "Manufacturer", "ManufacturerModelName", "SoftwareVersions",
        "ConvolutionKernel", "ScanOptions", "SequenceName", "FilterType", "CodeValue",
        "CodeMeaning", "CodingSchemeDesignator", "CodingSchemeVersion", "ContextGroupVersion",
        "LossyImageCompressionMethod", "PresentationLabel", "ReceiveCoilName", "TransmitCoilName",
        "ContrastBolusAgent", "WindowCenterWidthExplanation", "RescaleType", "ModalityLUTType",
        "DoseUnits", "LUTExplanation",
    }
)  # fmt: skip
_KEPT_UIDS: Final = frozenset(
    {
        "SOPClassUID", "ReferencedSOPClassUID", "CodingSchemeUID", "MappingResourceUID",
        "ContextUID", "TransferSyntaxUID", "RelatedGeneralSOPClassUID",
        "ReferencedRelatedGeneralSOPClassUIDInFile",
    }
)  # fmt: skip
_PERSONAL_VRS: Final = frozenset(
    {
        "PN", "DA", "DT", "TM", "LO", "SH", "ST", "LT", "UT", "UC", "UR", "AE", "AS", "UN",
    }
)  # fmt: skip

Seal = Callable[[bytes], bytes]
"""Encrypts for the recipients; see `core.trust.envelope`."""


def protect(data: bytes, *, secret: bytes, seal: Seal | None = None) -> bytes:
    """Return an object without the patient.

    Args:
        data: A DICOM file.
        secret: Makes replaced UIDs; the same secret keeps the objects of a study together.
        seal: Encrypts what was changed, for who may know; None leaves it out for ever.

    Raises:
        InputError: Not a DICOM file, or it cannot be written again.
    """
    found = _read(data)
    changed = Dataset()
    _clean(found, secret, changed)
    found.PatientIdentityRemoved = "YES"
    found.DeidentificationMethod = METHOD
    found.DeidentificationMethodCodeSequence = Items([_method_code()])
    if seal is not None:
        found.EncryptedAttributesSequence = Items([_sealed(found, changed, seal)])
    found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID
    return _written(found)


def reveal(data: bytes, *, open_sealed: Seal) -> bytes:
    """Return an object with its patient again.

    Args:
        data: A protected DICOM file, made here or by another de-identifier.
        open_sealed: Decrypts for a recipient.

    Raises:
        InputError: Nothing sealed is in it, or it cannot be read.
        SignatureInvalid: It is sealed for somebody else, or was changed.
    """
    found = _read(data)
    sealed = cast("list[Dataset]", found.get("EncryptedAttributesSequence") or [])
    if not sealed:
        raise InputError("the object holds no encrypted attributes")
    original = _opened(sealed, open_sealed)
    for element in original:
        found[element.tag] = element
    for keyword in (
        "EncryptedAttributesSequence",
        "PatientIdentityRemoved",
        "DeidentificationMethod",
        "DeidentificationMethodCodeSequence",
    ):
        if keyword in found:
            delattr(found, keyword)
    found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID
    return _written(found)


def replaced_uid(uid: str, secret: bytes) -> str:
    """Return the UID that stands for another one; nobody without the secret finds the way back.

    Source: DICOM PS3.5 annex B.2 (UUID derived UID).
    """
    digest = hmac.digest(secret, uid.encode("ascii", "replace"), hashlib.sha256)[:16]
    return f"2.25.{int.from_bytes(digest, 'big')}"


def _clean(data: Dataset, secret: bytes, changed: Dataset | None) -> None:
    for tag in list(data.keys()):
        element: DataElement = data[tag]
        before = None if changed is None else DataElement(tag, element.VR, element.value)
        if element.VR == "SQ" and not _goes(element):
            copy = [_deep(item) for item in element.value]
            for item in element.value:
                _clean(item, secret, None)
            altered = copy != list(element.value)
            before = DataElement(tag, "SQ", Items(copy)) if changed is not None else None
        else:
            altered = _treat(data, element, secret)
        if altered and changed is not None and before is not None and not element.tag.is_private:
            changed[tag] = before


def _method_code() -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "113100", "DCM"
    code.CodeMeaning = "Basic Application Confidentiality Profile"
    return code


def _treat(data: Dataset, element: DataElement, secret: bytes) -> bool:
    """Keep, empty, replace or remove one element; say whether it is another now."""
    if _goes(element):
        del data[element.tag]
        return True
    if element.keyword in _EMPTIED:
        element.value = None
        return True
    if element.VR == "UI" and element.keyword not in _KEPT_UIDS and element.value:
        values: Any = element.value
        many = not isinstance(values, str)
        fresh = [replaced_uid(str(each), secret) for each in (values if many else [values])]
        element.value = fresh if many else fresh[0]
        return True
    return False


def _goes(element: DataElement) -> bool:
    if (
        element.tag.is_private
        or element.keyword in _REMOVED
        or element.tag.group & 0xFF00 == 0x5000
    ):
        return True
    personal = element.VR in _PERSONAL_VRS
    return personal and element.keyword not in _EMPTIED and element.keyword not in _KEPT_TEXT


def _deep(item: Dataset) -> Dataset:
    copy = Dataset()
    for element in item:
        value: Any = element.value
        if element.VR == "SQ":
            value = Items([_deep(each) for each in value])
        copy[element.tag] = DataElement(element.tag, element.VR, value)
    return copy


def _sealed(found: Dataset, changed: Dataset, seal: Seal) -> Dataset:
    if "SpecificCharacterSet" in found:
        # In the item, not beside it: GDCM takes the first element for the sequence.
        changed.SpecificCharacterSet = found.SpecificCharacterSet
    container = Dataset()
    container.ModifiedAttributesSequence = Items([changed])
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, False
    write_dataset(out, container)
    content = seal(out.getvalue())
    item = Dataset()
    item.EncryptedContentTransferSyntaxUID = _EXPLICIT
    item.EncryptedContent = content + b"\x00" * (len(content) % 2)
    return item


def _opened(sealed: list[Dataset], open_sealed: Seal) -> Dataset:
    error: AsepsisError | None = None
    for item in sealed:
        try:
            content = open_sealed(bytes(item.EncryptedContent))
        except AsepsisError as refused:
            error = refused  # Sealed for somebody else; another item may be ours.
            continue
        syntax = str(item.EncryptedContentTransferSyntaxUID)
        container = _bare(content, implicit=syntax == "1.2.840.10008.1.2")
        items = cast("list[Dataset]", container.get("ModifiedAttributesSequence") or [])
        if items:
            return items[0]
    raise error or InputError("nothing readable is sealed in the object")


def _bare(content: bytes, *, implicit: bool) -> Dataset:
    try:
        return cast("Any", filereader).read_dataset(
            io.BytesIO(content), is_implicit_VR=implicit, is_little_endian=True
        )
    except Exception as error:
        # pydicom raises whatever a strange value led it to.
        raise InputError("what is sealed in the object cannot be read") from error


def _read(data: bytes) -> FileDataset:
    if len(data) > OBJECT_BYTES_MAX:
        raise InputError(f"an object is over {OBJECT_BYTES_MAX} bytes")
    try:
        found: FileDataset = cast("Any", pydicom).dcmread(io.BytesIO(data))
    except Exception as error:
        # As above.
        raise InputError("not a DICOM file") from error
    return found


def _written(found: FileDataset) -> bytes:
    out = io.BytesIO()
    try:
        cast("Any", pydicom).dcmwrite(out, found, enforce_file_format=True)
    except Exception as error:
        # As above.
        raise InputError("the object cannot be written") from error
    return out.getvalue()
