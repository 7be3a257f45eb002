"""Images without the patient: of every object of pydicom nothing personal is left."""

import io
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from asepsis.core.errors import InputError
from asepsis.core.mapping.dicom_protection import protect, replaced_uid, reveal

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
NAMES = (
    "CT_small.dcm", "MR_small.dcm", "MR_small_bigendian.dcm", "JPEG2000.dcm", "reportsi.dcm",
    "waveform_ecg.dcm", "examples_overlay.dcm", "test-SR.dcm", "liver_1frame.dcm",
)  # fmt: skip
SECRET = b"s" * 32
PERSONAL = {"PN", "DA", "DT", "TM", "AS", "AE", "LT", "UT", "ST"}
pytestmark = pytest.mark.filterwarnings("ignore")  # pydicom's remarks on old objects.


def walk(data: Dataset) -> Iterator[pydicom.DataElement]:
    for element in data:
        yield element
        if element.VR == "SQ":
            for item in element.value:
                yield from walk(item)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_personal_is_left(name: str) -> None:
    original = (FILES / name).read_bytes()
    before = pydicom.dcmread(io.BytesIO(original))
    hidden = protect(original, secret=SECRET)
    after = pydicom.dcmread(io.BytesIO(hidden))
    assert not [each for each in walk(after) if each.VR in PERSONAL and each.value]
    assert not [each for each in walk(after) if each.tag.is_private]
    assert after.PatientIdentityRemoved == "YES"
    assert after.SOPInstanceUID == after.file_meta.MediaStorageSOPInstanceUID
    assert after.StudyInstanceUID == replaced_uid(before.StudyInstanceUID, SECRET)
    for keyword in ("PatientID", "PatientName", "AccessionNumber", "StudyInstanceUID"):
        value = str(before.get(keyword, "")).encode()
        assert len(value) < 4 or value not in hidden, keyword
    if "PixelData" in before:
        assert after.PixelData == before.PixelData


def test_a_study_stays_together_and_the_secret_decides() -> None:
    assert replaced_uid("1.2.3", SECRET) == replaced_uid("1.2.3", SECRET)
    assert replaced_uid("1.2.3", SECRET) != replaced_uid("1.2.3", b"t" * 32)
    assert len(replaced_uid("1.2.3", SECRET)) <= 64


@pytest.mark.parametrize("data", [b"", b"MZ" * 100, bytes(200)])
def test_what_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        protect(data, secret=SECRET)


def test_an_object_without_sealed_attributes_is_not_revealed() -> None:
    with pytest.raises(InputError):
        reveal((FILES / "CT_small.dcm").read_bytes(), open_sealed=bytes)
