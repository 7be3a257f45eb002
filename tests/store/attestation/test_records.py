"""Rows of attestation on both databases."""

from dataclasses import replace

import pytest

from asepsis.core.errors import Conflict, NotFound
from asepsis.core.trust.attestation import Release
from asepsis.hub.registry.attestation import records
from asepsis.hub.registry.attestation.records import Floor, Maker, Released
from asepsis.hub.registry.attestation.standing import Device
from asepsis.hub.store.store import Store

DEVICE = Device(
    name="urn:dev:mac:0000000000000001",
    person="anna",
    opened_ns=1,
    until_ns=2**62,
    ek_sha256="a" * 64,
    ak=b"\0key\xff",
    clock_ms=2**40,
    reason="why " * 100,
)
RELEASE = Release(name="1.4", number=4, registers={11: b"\1" * 32}, parts=frozenset({"b" * 64}))
RELEASED = Released(model="M", release=RELEASE, person="anna", added_ns=1)
MAKER = Maker(sha256="c" * 64, subject="CN=M", certificate=b"der", person="anna", added_ns=1)


def test_what_is_written_is_read(store: Store) -> None:
    with store.unit_of_work() as connection:
        records.put_device(connection, DEVICE)
        records.put_device(connection, replace(DEVICE, standing="booted"))
        records.put_release(connection, RELEASED)
        records.put_release(connection, RELEASED)
        records.put_maker(connection, MAKER)
        records.put_maker(connection, MAKER)
    with store.reading() as connection:
        assert records.read_devices(connection) == [replace(DEVICE, standing="booted")]
        assert records.read_device(connection, DEVICE.name) == replace(DEVICE, standing="booted")
        assert records.read_device(connection, "nobody") is None
        assert records.holder_of(connection, "a" * 64) == DEVICE.name
        assert records.holder_of(connection, "b" * 64) is None
        assert records.read_releases(connection, model="M") == [RELEASED]
        assert records.read_releases(connection, model="N") == []
        assert records.read_makers(connection) == [MAKER]
    with store.unit_of_work() as connection:
        assert records.remove_release(connection, "M", "1.4")
        records.remove_maker(connection, MAKER.sha256)
        with pytest.raises(NotFound):
            records.remove_maker(connection, MAKER.sha256)


def test_a_floor_only_rises(store: Store) -> None:
    floor = Floor(model="M", number=3, person="anna", decided_ns=1)
    with store.unit_of_work() as connection:
        assert records.floor_of_model(connection, "M") == 0
        records.put_floor(connection, floor)
        records.put_floor(connection, replace(floor, number=4))
        with pytest.raises(Conflict, match="never lowered"):
            records.put_floor(connection, floor)
        assert records.read_floors(connection) == [replace(floor, number=4)]
