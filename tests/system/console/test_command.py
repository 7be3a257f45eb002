"""`asepsis people` against a real hub: an account that can sign in, changes, and is gone."""

import json
import subprocess
import sys
from pathlib import Path

from console_ward import ConsoleWard

PASSWORD = "seven dry wooden stairs"


def people(ward: ConsoleWard, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command in the hub's data folder."""
    command = [sys.executable, "-m", "asepsis.cli.main", "people", *words]
    data = ["--data", str(ward.ward.hospital.data)]
    return subprocess.run(
        [*command, *data], input=given, capture_output=True, text=True, timeout=60, check=False
    )


def test_accounts_are_kept_by_command(ward: ConsoleWard) -> None:
    client = ward.client()
    door = {"name": "dora", "password": PASSWORD}

    def enter(password: str = PASSWORD) -> int:
        given = door | {"password": password}
        return client.post("/sign-in", data=given, headers={"Origin": ward.base}).status_code

    added = people(ward, "add", "dora", "--role", "clinician", "--password-stdin", given=PASSWORD)
    assert added.returncode == 0, added.stderr
    assert enter() == 303
    listed = json.loads(people(ward, "list", "--json").stdout)
    [dora] = [each for each in listed if each["name"] == "dora"]
    assert (dora["roles"], dora["password"], dora["sessions"]) == (["clinician"], True, 1)
    assert people(ward, "roles", "dora", "--role", "viewer").returncode == 0
    assert client.get("/api/session").json()["roles"] == ["viewer"]
    changed = people(ward, "password", "dora", "--password-stdin", given="another four words\n")
    assert changed.returncode == 0, changed.stderr
    assert client.get("/api/session").status_code == 401
    assert enter("another four words") == 303
    assert people(ward, "remove", "dora").returncode == 0
    assert enter("another four words") == 403


def test_a_token_opens_the_terminal_view(ward: ConsoleWard, tmp_path: Path) -> None:
    added = people(ward, "add", "wanda", "--role", "viewer", "--password-stdin", given=PASSWORD)
    assert added.returncode == 0, added.stderr
    file = tmp_path / "wanda.token"
    made = people(ward, "token", "wanda", "--days", "1", "--out", str(file))
    assert made.returncode == 0, made.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text() not in made.stdout
    again = people(ward, "token", "wanda", "--out", str(file))
    assert (again.returncode, "exists" in again.stderr) == (1, True)
    command = [sys.executable, "-m", "asepsis.cli.main", "ward", "--token", str(file), "--once"]
    seen = subprocess.run(
        [*command, "--data", str(ward.ward.hospital.data)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert seen.returncode == 0, seen.stderr
    entries = ward.api.get("/api/audit", params={"limit": 1000}).json()["entries"]
    acts = {(each["actor"], each["action"]) for each in entries}
    assert ("person:wanda", "watch-ward") in acts
    assert people(ward, "remove", "wanda").returncode == 0


def test_what_is_refused_is_said(ward: ConsoleWard) -> None:
    weak = people(ward, "add", "eve", "--role", "viewer", "--password-stdin", given="short\n")
    assert weak.returncode == 1
    assert "12 to 256 characters" in weak.stderr
    assert "eve" not in people(ward, "list").stdout
    last = people(ward, "remove", "nobody")
    assert last.returncode == 1
    assert "there is no person" in last.stderr
