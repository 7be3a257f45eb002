"""`asepsis device attack` before it starts anything."""

import json

import pytest

from asepsis.cli.device_attack import attack
from asepsis.core.errors import ConfigError
from asepsis.tools.attack.table import LANDLOCK_VERSIONS


def test_a_dry_run_says_what_is_expected(capsys: pytest.CaptureFixture[str]) -> None:
    assert attack(dry_run=True, json=True) == 0
    lines = json.loads(capsys.readouterr().out)
    assert {line["landlock"] for line in lines} == set(LANDLOCK_VERSIONS)
    assert all(line["succeed"] == [] for line in lines if line["layers"] == "all")
    assert all(len(line["succeed"]) > 30 for line in lines if line["layers"] == "none")


def test_a_wrong_word_says_which_there_are() -> None:
    with pytest.raises(ConfigError, match="-secomp") as caught:
        attack(layers=["-secomp"])
    assert "-seccomp" in caught.value.hint


def test_a_version_that_this_kernel_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be tried"):
        attack(landlock_version=99)
