"""Image objects made for tests, and store requests that carry them."""

import io
import struct
from collections.abc import Iterable, Iterator
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import httpx
import pydicom
from imaging_ward import MODALITY
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

PYDICOM = Path(pydicom.__file__).parent / "data" / "test_files"
CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
BOUNDARY = b"asepsis-test-boundary-0123456789"
TYPE = f'multipart/related; type="application/dicom"; boundary="{BOUNDARY.decode()}"'


def made(
    *,
    study: str | None = None,
    series: str | None = None,
    instance: str | None = None,
    pixels: bytes = b"\x00\x01" * 64,
    **more: Any,
) -> bytes:
    """Return a small CT image; keyword arguments set attributes by keyword."""
    data = Dataset()
    data.SOPClassUID = CT_CLASS
    data.SOPInstanceUID = instance or generate_uid()
    data.StudyInstanceUID = study or generate_uid()
    data.SeriesInstanceUID = series or generate_uid()
    data.PatientName, data.PatientID, data.Modality = "Canary^Ida", "PID-4711", "CT"
    data.StudyDate, data.StudyTime, data.AccessionNumber = "20261122", "101500", "ACC1"
    data.Rows, data.Columns, data.BitsAllocated, data.SamplesPerPixel = 8, 8, 16, 1
    data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 15, 0
    data.PhotometricInterpretation = "MONOCHROME2"
    data.PixelData = pixels
    for keyword, value in more.items():
        setattr(data, keyword, value)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    out = io.BytesIO()
    pydicom.dcmwrite(out, data, enforce_file_format=True)
    return out.getvalue()


def multipart(objects: Iterable[bytes]) -> bytes:
    """Return the body of a store request."""
    head = b"\r\n--%b\r\nContent-Type: application/dicom\r\n\r\n" % BOUNDARY
    return b"".join(head + each for each in objects) + b"\r\n--%b--\r\n" % BOUNDARY


def multipart_of(answer: httpx.Response) -> list[Any]:
    """Return the parts of a multipart answer, read by the standard library."""
    head = b"Content-Type: " + answer.headers["content-type"].encode() + b"\r\n\r\n"
    message = BytesParser().parsebytes(head + answer.content)
    assert message.is_multipart()
    return list(message.get_payload())


def store(
    client: httpx.Client,
    *objects: bytes,
    study: str = "",
    device: str | None = MODALITY,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    """Store objects in one request."""
    path = "/dicom-web/studies" + (f"/{study}" if study else "")
    fields = {"content-type": TYPE} | (headers or {})
    if device:
        fields["asepsis-device"] = device
    return client.post(path, content=multipart(objects), headers=fields)


def stored(answer: httpx.Response) -> list[str]:
    """Return the SOP Instance UIDs that were stored."""
    return _instances(answer, "00081199")


def failed(answer: httpx.Response) -> dict[str, int]:
    """Return SOP Instance UID -> failure reason."""
    items = answer.json().get("00081198", {}).get("Value", [])
    return {item["00081155"].get("Value", [""])[0]: item["00081197"]["Value"][0] for item in items}


def _instances(answer: httpx.Response, tag: str) -> list[str]:
    items = answer.json().get(tag, {}).get("Value", [])
    return [item["00081155"]["Value"][0] for item in items]


def large(byte_count: int, *, instance: str, piece: bytes = bytes(1 << 20)) -> Iterator[bytes]:
    """Give a store request with one object of that many bytes of pixel data."""
    rows, columns = 1024, 512
    frames = byte_count // (rows * columns * 2)
    data = made(instance=instance, Rows=rows, Columns=columns, NumberOfFrames=frames)
    at = data.rindex(b"\xe0\x7f\x10\x00OW")
    total = frames * rows * columns * 2
    yield b"--%b\r\nContent-Type: application/dicom\r\n\r\n" % BOUNDARY
    yield data[: at + 8] + struct.pack("<I", total)
    for _ in range(total // len(piece)):
        yield piece
    yield b"\r\n--%b--\r\n" % BOUNDARY
