"""Instances from real peers reach the hub unchanged, and a success means that they are durable."""

import asyncio
import time
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pydicom
import pydicom.data
import pytest
from dicom_ward import CT, EXPLICIT, IMPLICIT, DicomWard, data_set, opened, pieces, run, storescu

from asepsis.core.errors import FramingError
from asepsis.edge.gateway.imaging import part10
from asepsis.edge.gateway.imaging.policy import STORAGE_CLASSES

BIG_ENDIAN = "1.2.840.10008.1.2.2"
FILES = sorted(
    path
    for path in Path(pydicom.data.__file__).parent.joinpath("test_files").rglob("*")
    if path.is_file()
)
FILES_COUNT = 176
REASONS = {
    "index of a medium, no storage class": 8,
    "a data set that names no SOP class or instance": 5,
    "no DICOM at all": 9,
}
"""Why a file of pydicom is not sent, and how many there are; all others must pass."""


def test_echo_of_dcmtk(ward: DicomWard) -> None:
    done = run("echoscu", "-v", "-aet", "CT1", "-aec", "GATE", "127.0.0.1", ward.port())
    assert done.returncode == 0, done.stderr


def test_a_file_of_dcmtk_arrives_with_its_meta_information(ward: DicomWard) -> None:
    assert ward.server is not None
    before = len(ward.server.stored)
    done = storescu(ward.port(), pydicom.data.get_testdata_file("CT_small.dcm"))
    assert done.returncode == 0, done.stderr
    assert "Success" in done.stderr + done.stdout
    meta, _ = part10.decode_head(ward.server.stored[before]) or (None, 0)
    assert meta is not None
    assert (meta.sop_class, meta.source_ae, meta.receiving_ae) == (CT, "CT1", "GATE")
    assert list(ward.images.glob("*.image")) == []


def judge(path: Path) -> tuple[str, str, str, bytes] | str:
    """Return class, syntax, instance and data set of a file, or why it cannot be stored."""
    file = path.read_bytes()
    try:
        found = part10.decode_head(file)
    except FramingError:
        found = None
    if found is not None:
        meta, begin = found
        names, data = (meta.sop_class, meta.transfer_syntax, meta.sop_instance), file[begin:]
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        if not read.get("SOPClassUID") or not read.get("SOPInstanceUID"):
            named = path.suffix == ".dcm"
            return "a data set that names no SOP class or instance" if named else "no DICOM at all"
        implicit, little = read.original_encoding
        syntax = IMPLICIT if implicit else EXPLICIT if little else BIG_ENDIAN
        names = (str(read.SOPClassUID), syntax, str(read.SOPInstanceUID))
        data = file[132:] if file[128:132] == b"DICM" else file
    if names[0] not in STORAGE_CLASSES:
        return "index of a medium, no storage class"
    return (*names, data)


@pytest.mark.slow
def test_every_test_file_of_pydicom_passes_unchanged(ward: DicomWard) -> None:
    """Goal: each data set arrives bit-exact, whatever its class and syntax; or says why not."""
    assert ward.server is not None
    judged = [judge(path) for path in FILES]
    reasons = Counter(found for found in judged if isinstance(found, str))
    sent = [found for found in judged if not isinstance(found, str)]

    async def send_all() -> None:
        for sop_class, syntax, sop_instance, data in sent:
            user = await opened(ward, (sop_class, syntax))
            found = await user.store((sop_class, syntax), sop_instance, pieces(data))
            assert found == (0, ""), sop_instance
            await user.release()

    before = len(ward.server.stored)
    asyncio.run(send_all())
    arrived = [data_set(file) for file in ward.server.stored[before:]]
    assert arrived == [data for *_, data in sent]
    assert (len(FILES), reasons) == (FILES_COUNT, REASONS)


@pytest.mark.slow
def test_a_large_object_takes_little_memory(prepared: Callable[..., DicomWard]) -> None:
    """Goal: 400 MB in one instance; parser, keeper and broker stay far below 300 MB together."""
    ward = prepared()
    server = ward.start_server(keep=False)
    ward.start_gateway()
    assert ward.gateway is not None
    length = 400_000_000
    piece = bytes(1_000_000)
    most = 0

    def resident() -> int:
        assert ward.gateway is not None
        parser = psutil.Process(ward.gateway.pid)
        family = [parser, *parser.children(recursive=True)]
        return sum(process.memory_info().rss for process in family)

    async def data() -> AsyncIterator[bytes]:
        nonlocal most
        for at in range(length // len(piece)):
            yield piece
            if at % 50 == 0:
                most = max(most, resident())

    async def store() -> tuple[int, str]:
        user = await opened(ward, (CT, EXPLICIT))
        try:
            return await user.store((CT, EXPLICIT), "1.2.3", data())
        finally:
            await user.release()

    assert asyncio.run(store()) == (0, "")
    assert max(most, resident()) < 300_000_000
    deadline = time.monotonic() + 30
    while not server.lengths:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert server.lengths[0] > length
