"""The service medium: what is looked into, what is not, and that numbers only go up."""

from pathlib import Path
from typing import Any

import pytest

from asepsis.core.errors import AsepsisError, NotFound
from asepsis.core.trust import libcrypto
from asepsis.core.trust.attestation_log import Change
from asepsis.core.wire.parcel import (
    BLOCK,
    MEDIUM_BYTES,
    Head,
    Parcel,
    ParcelKind,
    encode_content,
    encode_head,
)
from asepsis.edge.device import kernel_patch
from asepsis.edge.device.medium import Medium, read_blocks

KEY, OTHER = libcrypto.generate_key(), libcrypto.generate_key()


class Bench:
    """A medium in a file, and what a device makes of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.write_bytes(bytes(MEDIUM_BYTES))
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.measured: list[tuple[Change, str]] = []
        self.restart()

    def restart(self) -> None:
        """Begin as after a restart of the machine."""
        self.medium = Medium(
            self._path,
            judge=self._judge,
            tell=self._tell,
            measure=self._measure,
            memory=self._path.with_name("parcels.json"),
        )

    def bring(self, parcel: Parcel, *, by: libcrypto.PrivateKey = KEY) -> None:
        """Put a parcel on it and let the device look."""
        content = encode_content(parcel)
        head = Head(number=parcel.number, content_bytes=len(content), signature=by.sign(content))
        self.put(encode_head(head) + content)

    def put(self, data: bytes) -> None:
        """Put bytes on it and let the device look."""
        with self._path.open("r+b") as file:
            file.write(data)
        self.medium.look()

    def _judge(self, content: bytes, signature: bytes) -> None:
        libcrypto.verify(KEY.spki_der, signature, content)

    def _tell(self, event: str, /, **facts: Any) -> None:
        self.told.append((event, facts))

    def _measure(self, change: Change, subject: str, _version: str, _sha256: str) -> None:
        self.measured.append((change, subject))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "medium.img")


def withdrawal(number: int) -> Parcel:
    return Parcel(kind=ParcelKind.KERNEL_UNPATCH, name="absent_patch", number=number)


def test_an_empty_medium_is_silent(bench: Bench) -> None:
    bench.medium.look()
    assert bench.told == []


def test_a_parcel_is_taken_once_and_only_a_newer_one_after_it(bench: Bench) -> None:
    bench.bring(withdrawal(2))
    bench.medium.look()
    # Verified and looked into; the kernel has no such patch.
    assert [event for event, _ in bench.told] == ["parcel", "parcel-refused"]
    assert bench.told[1][1]["code"] == NotFound.code
    assert bench.measured == []
    for number in (1, 2):
        bench.bring(withdrawal(number))
        assert "not newer" in bench.told[-1][1]["text"]
    bench.bring(withdrawal(3))
    assert [event for event, _ in bench.told[-2:]] == ["parcel", "parcel-refused"]


def test_numbers_outlive_a_restart_and_the_newest_parcel_may_come_again(bench: Bench) -> None:
    """Goal: what was replaced stays refused; what a restart undid is brought by the same parcel."""
    for number in (4, 5):
        bench.bring(withdrawal(number))
    bench.restart()
    bench.bring(withdrawal(4))
    assert "not newer" in bench.told[-1][1]["text"]
    bench.bring(withdrawal(5))
    assert [event for event, _ in bench.told[-2:]] == ["parcel", "parcel-refused"]
    bench.bring(withdrawal(3))
    bench.bring(withdrawal(5))  # Once in a life of the machine.
    assert "not newer" in bench.told[-1][1]["text"]
    bench.restart()
    other = Parcel(kind=ParcelKind.KERNEL_UNPATCH, name="another", number=5)
    bench.bring(other)  # The same number on something else.
    assert "not newer" in bench.told[-1][1]["text"]


def test_a_number_that_is_not_kept_is_not_taken(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "parcels.json.new").mkdir()  # The disk refuses.
    bench.bring(withdrawal(1))
    assert [event for event, _ in bench.told] == ["parcel-refused"]
    assert "cannot write" in bench.told[0][1]["text"]


def test_what_another_signed_is_not_looked_into(bench: Bench) -> None:
    bench.bring(withdrawal(1), by=OTHER)
    assert [event for event, _ in bench.told] == ["parcel-refused"]
    bench.bring(withdrawal(1))  # Its number counts still.
    assert bench.told[1][0] == "parcel"


def test_noise_is_refused_and_told_once_for_each_change(bench: Bench) -> None:
    bench.put(b"x" * BLOCK)
    assert bench.told[-1][1]["text"] == "not a service medium"
    bench.medium.look()
    assert len(bench.told) == 1
    bench.put(encode_head(Head(number=1, content_bytes=4_000, signature=bytes(64))))
    refused = len(bench.told)
    bench.medium.look()
    assert len(bench.told) == refused


def test_a_patch_is_measured_before_the_kernel_has_it(bench: Bench) -> None:
    module = b"\x7fELF no module at all"
    bench.bring(Parcel(kind=ParcelKind.KERNEL_PATCH, name="not_a_patch", number=1, payload=module))
    assert bench.measured == [(Change.PATCH, "not_a_patch")]
    assert [event for event, _ in bench.told] == ["parcel", "parcel-refused"]
    assert "not_a_patch" in bench.told[1][1]["text"]
    assert "not_a_patch" not in kernel_patch.present()


def test_a_patch_that_is_not_there_cannot_be_withdrawn() -> None:
    with pytest.raises(AsepsisError, match="no patch"):
        kernel_patch.withdraw("absent_patch")


def test_blocks_are_read_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "blocks"
    path.write_bytes(b"a" * BLOCK + b"b" * BLOCK)
    assert read_blocks(path, at=BLOCK, size=10) == b"b" * 10
    with pytest.raises(AsepsisError, match="shorter"):
        read_blocks(path, at=BLOCK, size=BLOCK + 1)
