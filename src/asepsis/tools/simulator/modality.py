"""A computed tomograph of the old kind: it stores an image by DIMSE, in clear text.

The image is a test image that pydicom brings, of a phantom patient; nobody real.
"""

import time
from pathlib import Path
from typing import Any, Final, cast

import pydicom
from pydicom.data import get_testdata_file
from pynetdicom import AE

from asepsis.core.errors import Unavailable

AE_TITLE: Final = "CT1"
IMAGE: Final = "CT_small.dcm"
SUCCESS: Final = 0x0000
PREAMBLE_BYTES: Final = 132
ATTEMPTS: Final = 20
PAUSE_S: Final = 0.5


def image() -> Path:
    """Return the file of the image.

    Raises:
        Unavailable: pydicom came without its test images.
    """
    found = get_testdata_file(IMAGE)
    if not isinstance(found, str):
        raise Unavailable("pydicom came without its test images")
    return Path(found)


def store(file: Path, *, port: int, called: str, address: str) -> None:
    """Store an image at an application entity on loopback.

    Args:
        file: The image, a DICOM file.
        port: Where the application entity listens.
        called: Its title.
        address: Where the modality comes from.

    Raises:
        Unavailable: Nobody listens, or it was not stored.
    """
    data_set = _read(file)
    entity = cast("Any", AE(ae_title=AE_TITLE))
    entity.add_requested_context(data_set.SOPClassUID, data_set.file_meta.TransferSyntaxUID)
    for _ in range(ATTEMPTS):
        association = entity.associate(
            "127.0.0.1", port, ae_title=called, bind_address=(address, 0)
        )
        if association.is_established:
            break
        time.sleep(PAUSE_S)
    else:
        raise Unavailable("the gateway takes no association of the modality")
    try:
        status = association.send_c_store(data_set)
    finally:
        association.release()
    if getattr(status, "Status", None) != SUCCESS:
        raise Unavailable(f"the image was not stored: {getattr(status, 'Status', 'no answer')}")


def same_pixels(one: Path, other: bytes) -> bool:
    """Tell whether two DICOM files hold the same pixel data, byte for byte."""
    pixels = _read(one).PixelData
    return bool(pixels and pixels in other)


def _read(file: Path) -> Any:
    return cast("Any", pydicom).dcmread(file)
