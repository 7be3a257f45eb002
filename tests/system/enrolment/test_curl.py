"""docs/howto/enrol-with-curl.md, command by command, against a real hub."""

import re
import subprocess
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).parents[3] / "docs" / "howto" / "enrol-with-curl.md"
NAME = "urn:dev:mac:00000000000000c1"


def commands() -> str:
    """Return the page's shell blocks as one script that stops at the first failure."""
    blocks = re.findall(r"^```sh\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 6
    return "set -eu\n" + "\n".join(blocks)


def run(system: Any, folder: Path, token: str) -> "subprocess.CompletedProcess[bytes]":
    environment = {
        "PATH": "/usr/bin:/bin",
        "HUB": f"localhost:{system.hub.ports['enrolment']}",
        "NAME": NAME,
        "TOKEN": token,
    }
    return subprocess.run(
        ["sh", "-c", commands()],
        cwd=folder,
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_the_commands_of_the_page_enrol_a_device(system: Any, tmp_path: Path) -> None:
    done = run(system, tmp_path, system.expect(NAME))
    assert done.returncode == 0, done.stderr
    client = system.client(tmp_path)
    assert client.curl("clinical", "/metadata", *client.cert()) == (200, NAME.encode())
    assert system.hub.book.device(NAME).origin_spki is not None


def test_the_commands_stop_at_a_hub_with_another_root(system: Any, tmp_path: Path) -> None:
    """Goal: with a wrong pin nothing secret is sent; the token can still be used."""
    token = system.expect(NAME)
    id_and_secret = token.rpartition(".")[0]
    done = run(system, tmp_path, f"{id_and_secret}.{'0' * 64}")
    assert done.returncode != 0
    assert not (tmp_path / "key.pem").exists()
    assert run(system, tmp_path, token).returncode == 0


def test_the_page_never_skips_verification() -> None:
    text = DOCUMENT.read_text()
    assert "--insecure" not in text
    assert not re.search(r"curl[^\n|]*\s-\w*k", text)
