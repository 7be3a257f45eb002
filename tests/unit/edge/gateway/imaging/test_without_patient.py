"""A destination that gets images without the patient: what goes together, and what it needs."""

import os
from pathlib import Path

import pytest

from asepsis.core.errors import ConfigError, InputError
from asepsis.edge.gateway.imaging import without_patient
from asepsis.edge.gateway.imaging.settings import ArchiveEntry
from asepsis.edge.inspection.sample import SAMPLE


def entry(secret: Path | str, **more: bool) -> ArchiveEntry:
    options = {"deidentify": True, **more}
    return ArchiveEntry(host="127.0.0.1", called="PACS", uid_secret_file=str(secret), **options)


def test_the_patient_goes_and_uids_stay_together(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(os.urandom(32))
    protect = without_patient.protection(entry(secret))
    assert protect is not None
    changed = protect(SAMPLE)
    assert b"Sample" in SAMPLE
    assert b"Sample" not in changed
    assert protect(SAMPLE) == changed
    with pytest.raises(InputError):
        protect(b"no DICOM file")


def test_a_destination_that_does_not_ask_for_it_gets_what_was_stored() -> None:
    assert without_patient.protection(entry("", deidentify=False)) is None


def test_a_secret_that_is_short_or_missing_is_a_mistake(tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_bytes(b"x" * 31)
    for path in (short, tmp_path / "absent"):
        with pytest.raises(ConfigError):
            without_patient.protection(entry(path))


@pytest.mark.parametrize("asked", ["queries", "commits"])
def test_an_archive_without_patients_is_asked_nothing(asked: str) -> None:
    with pytest.raises(ConfigError):
        without_patient.check(entry("secret", **{asked: True}))


def test_the_secret_and_the_wish_belong_together() -> None:
    for wrong in (entry(""), entry("secret", deidentify=False)):
        with pytest.raises(ConfigError):
            without_patient.check(wrong)
    without_patient.check(entry("secret"))
