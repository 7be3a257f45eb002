"""The verifier as a process, in Python and in machine code: the same word about the same file."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from asepsis.core.errors import SignatureInvalid, Unavailable
from asepsis.core.trust import libcrypto
from asepsis.edge.device.judging import OneShotVerifier
from asepsis.edge.device.manifest import VERIFIER
from asepsis.edge.device.state import code_link
from asepsis.edge.sandbox import bubblewrap
from asepsis.edge.sandbox.layers import detect

ROOT = Path(__file__).parents[4]
HOLDING = detect().holding
KEY, OTHER = libcrypto.generate_key(), libcrypto.generate_key()
STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Return a folder that other users may pass."""
    with tempfile.TemporaryDirectory(prefix="asepsis-judging-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture(scope="module", params=["python", "machine-code"])
def verifier(request: pytest.FixtureRequest, place: Path) -> OneShotVerifier:
    programs = place / str(request.param)
    programs.mkdir()
    if request.param == "machine-code":
        compiler = shutil.which("gcc")
        if compiler is None:
            pytest.skip("no C compiler (gcc, libc6-dev)")
        words = [compiler, "-std=c11", "-O2", "-D_GNU_SOURCE", *STRICT]
        words += [f"-I{ROOT / 'standard/ring'}", "-o", str(programs / VERIFIER)]
        subprocess.run([*words, str(ROOT / "images/monitor/verifier.c"), "-lcrypto"], check=True)
    made = OneShotVerifier(
        KEY.spki_der,
        layers=HOLDING,
        code_folder=code_link(place, bubblewrap.code().package),
        log=place / "verifier.log",
        programs=programs,
    )
    assert (made.program is not None) == (request.param == "machine-code")
    return made


@pytest.mark.parametrize("size", [0, 1, 65_536, 300_000])
def test_it_verifies_what_the_key_signed(verifier: OneShotVerifier, size: int) -> None:
    content = b"x" * size
    verifier.judge(content, KEY.sign(content))


@pytest.mark.parametrize("how", ["changed", "foreign", "short", "long", "zeros", "order"])
def test_it_refuses_everything_else(verifier: OneShotVerifier, how: str) -> None:
    content = b"a live patch"
    good = KEY.sign(content)
    content, signature = {
        "changed": (content + b".", good),
        "foreign": (content, OTHER.sign(content)),
        "short": (content, good[:-1]),
        "long": (content, good + b"\0"),
        "zeros": (content, bytes(64)),
        "order": (content, good[32:] + good[:32]),
    }[how]
    with pytest.raises(SignatureInvalid, match="refuses"):
        verifier.judge(content, signature)


def test_without_a_key_it_fails(verifier: OneShotVerifier, place: Path) -> None:
    broken = OneShotVerifier(
        b"no key",
        layers=HOLDING,
        code_folder=code_link(place, bubblewrap.code().package),
        log=place / "verifier.log",
        programs=verifier.program.parent if verifier.program else place / "python",
    )
    with pytest.raises((Unavailable, SignatureInvalid)):
        broken.judge(b"content", KEY.sign(b"content"))
    assert (place / "verifier.log").stat().st_size < 10_000
