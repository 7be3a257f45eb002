"""Debian's Chromium with the hub's own key pinned, and a record of everything it should not do."""

import base64
import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, Request, sync_playwright

from asepsis.core.trust import tls

CHROMIUM = Path("/usr/bin/chromium")
SIZE = {"width": 1440, "height": 900}
WATCH = """
window.__found = [];
document.addEventListener("securitypolicyviolation", (e) =>
  window.__found.push(`${e.violatedDirective} ${e.blockedURI} ${e.sample}`));
window.__ran = () => window.__found.push("a script of foreign text ran");
"""


@dataclass
class Watch:
    """What a page did that nobody should make it do."""

    base: str
    requests: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def attach(self, page: Page) -> None:
        """Watch a page."""
        page.on("request", self._request)
        page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on(
            "console",
            lambda message: self.errors.append(message.text) if message.type == "error" else None,
        )

    def _request(self, request: Request) -> None:
        self.requests.append(f"{request.method} {request.url}")
        if not request.url.startswith(self.base + "/"):
            self.foreign.append(request.url)


def spki_pin(port: int, root_der: bytes) -> str:
    """Return the SHA-256 of the hub's public key, after a handshake that the root vouches for."""
    context = tls.client_context(root_der=root_der)
    with (
        socket.create_connection(("localhost", port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as secured,
    ):
        der = secured.getpeercert(binary_form=True)
    assert der is not None
    key = x509.load_der_x509_certificate(der).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()


@contextmanager
def chromium(pin: str) -> Iterator[Browser]:
    """Start the browser; it accepts the hub's key and no other."""
    with sync_playwright() as playwright:
        browser = launch(playwright, pin)
        yield browser
        browser.close()


def launch(playwright: Playwright, pin: str) -> Browser:
    """Start the browser of this machine; nothing is downloaded."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    return playwright.chromium.launch(
        executable_path=str(CHROMIUM),
        args=[
            *sandbox,
            f"--ignore-certificate-errors-spki-list={pin}",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-gpu",
        ],
    )


def open_context(browser: Browser, **options: object) -> BrowserContext:
    """Return a fresh profile that notes violations of the content policy on every page."""
    context = browser.new_context(viewport=SIZE, **options)  # type: ignore[arg-type]
    context.add_init_script(WATCH)
    context.set_default_timeout(10_000)
    return context


def found(page: Page) -> list[str]:
    """Return what the page noted of itself."""
    return page.evaluate("window.__found")
