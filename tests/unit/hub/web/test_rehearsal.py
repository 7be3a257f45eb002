"""What pages need is imported before root is given up: afterwards files may be out of reach."""

import subprocess
import sys

SCRIPT = """
import asyncio, sys
from asepsis.hub.run import load_lazy_modules
load_lazy_modules()
before = set(sys.modules)

from asepsis.hub.access.rules import decide
from asepsis.hub.access.principal import ANONYMOUS
from asepsis.hub.console.http import HANDLERS, PREFIXES
from asepsis.hub.web import litestar_mount

async def nobody(_scope):
    return ANONYMOUS

mount = litestar_mount.litestar_mount(
    PREFIXES, HANDLERS, check=decide, authenticate=nobody, console=object()
)

async def receive():
    return {"type": "http.request", "body": b"", "more_body": False}

async def send(message):
    if message["type"] == "http.response.start":
        print(message["status"])

async def ask():
    for path in ("/devices", "/devices/x", "/nowhere"):
        await mount.app(litestar_mount._scope(path), receive, send)

asyncio.run(ask())
late = [m for m in set(sys.modules) - before if getattr(sys.modules[m], "__file__", None)]
assert not late, late
"""


def test_pages_import_nothing_late() -> None:
    """Goal: a hub whose user may not read the interpreter's folder serves every page."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["401", "401", "404"]
