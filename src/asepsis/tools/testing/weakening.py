"""Weakens the TLS of a hub on purpose, handshake by handshake: its check must fail then."""

import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from asepsis.core.trust import tls

Named = Callable[[], str]
Making = Callable[..., ssl.SSLContext]
_END: Final = "-----END CERTIFICATE-----\n"


def _weak_suites(made: Making, *given: Any, **more: Any) -> ssl.SSLContext:
    context = made(*given, **more)
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def _old_versions(made: Making, *given: Any, **more: Any) -> ssl.SSLContext:
    context = _weak_suites(made, *given, **more)
    context.minimum_version = ssl.TLSVersion.TLSv1
    return context


def _no_certificate_needed(made: Making, *given: Any, **more: Any) -> ssl.SSLContext:
    context = made(*given, **more)
    context.verify_mode = ssl.CERT_NONE
    return context


def _chain_without_root(
    made: Making, listener: tls.Listener, *, identity: tls.KeyAndChain, **more: Any
) -> ssl.SSLContext:
    pem = identity.chain_path.read_text("ascii")
    cut = Path(identity.chain_path.parent / "short.pem")
    cut.write_text(_END.join(pem.split(_END)[:2]) + _END, "ascii")
    less = tls.KeyAndChain(chain_path=cut, key_path=identity.key_path)
    return made(listener, identity=less, **more)


WEAKENED: Final[Mapping[str, Making]] = {
    "REQ-TLS-001": _weak_suites,
    "REQ-TLS-002": _old_versions,
    "REQ-TLS-003": _no_certificate_needed,
    "REQ-TLS-007": _chain_without_root,
}
"""Requirement -> what makes a listener's context instead."""


class _Switched(ssl.SSLContext):
    """A context whose next handshake is another context's if something names that one."""

    sound: ssl.SSLContext
    weak: Mapping[str, ssl.SSLContext]
    named: Named

    def wrap_bio(self, *given: Any, **more: Any) -> ssl.SSLObject:
        """Begin a handshake."""
        chosen = self.weak.get(self.named(), self.sound)
        chosen.sslobject_class = self.sslobject_class
        return chosen.wrap_bio(*given, **more)


def weaken_handshakes(named: Named) -> None:
    """Arrange that listeners which are made in this process weaken what is named at a handshake.

    Args:
        named: Returns the id of a requirement, or nothing.
    """
    made = tls.server_context

    def switched(*given: Any, **more: Any) -> ssl.SSLContext:
        context = _Switched(ssl.PROTOCOL_TLS_SERVER)
        context.sound = made(*given, **more)
        context.weak = {name: weak(made, *given, **more) for name, weak in WEAKENED.items()}
        context.named = named
        return context

    tls.server_context = switched  # broken on purpose
