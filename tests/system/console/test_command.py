"""`asepsis people` against a real hub: an account that can sign in, changes, and is gone."""

import json
import subprocess
import sys

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


def test_what_is_refused_is_said(ward: ConsoleWard) -> None:
    weak = people(ward, "add", "eve", "--role", "viewer", "--password-stdin", given="short\n")
    assert weak.returncode == 1
    assert "12 to 256 characters" in weak.stderr
    assert "eve" not in people(ward, "list").stdout
    last = people(ward, "remove", "nobody")
    assert last.returncode == 1
    assert "there is no person" in last.stderr
