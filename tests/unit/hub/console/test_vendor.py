"""Files of others: exactly those of the manifest, with licence, and used by a page."""

import hashlib
import json
from pathlib import Path

from asepsis.hub.console.assets import FOLDER, load_assets

VENDOR = FOLDER / "vendor"
MANIFEST = json.loads((VENDOR / "manifest.json").read_text(encoding="utf-8"))


def test_every_file_is_the_one_that_was_published() -> None:
    for entry in MANIFEST["files"]:
        body = (VENDOR / entry["name"]).read_bytes()
        assert hashlib.sha256(body).hexdigest() == entry["sha256"], entry["name"]
        assert (VENDOR / entry["licence_file"]).read_text(encoding="utf-8").strip()
        assert entry["version"].encode() in body


def test_nothing_is_there_that_the_manifest_does_not_name() -> None:
    named = {"manifest.json"}
    for entry in MANIFEST["files"]:
        named |= {entry["name"], entry["licence_file"]}
    assert {path.name for path in VENDOR.iterdir()} == named


def test_only_what_a_page_uses_is_there() -> None:
    templates = Path(FOLDER).with_name("templates").glob("*.html")
    text = "".join(path.read_text(encoding="utf-8") for path in templates)
    for entry in MANIFEST["files"]:
        assert f"asset('{entry['name']}')" in text


def test_no_asset_asks_for_anything_elsewhere() -> None:
    """Goal: an address in our own files is a name of a namespace, never something to load."""
    vendored = {entry["name"] for entry in MANIFEST["files"]}
    for name, asset in load_assets().items():
        if name not in vendored:
            body = asset.body.replace(b"http://www.w3.org/2000/svg", b"")
            assert b"http:" not in body, name
            assert b"https:" not in body, name
            assert b"innerHTML" not in body, name
