"""Judges Kerberos tickets with the system's GSS-API library, by ctypes.

Source: RFC 2743, RFC 2744 (GSS-API and its C bindings), RFC 4121; DICOM PS3.7 D.3.3.7: the primary
field carries an AP-REQ, plain or framed as a GSS-API token; the answer carries the AP-REP.
"""

import ctypes
import os
from pathlib import Path
from typing import Final

from asepsis.core.errors import ConfigError, NotAuthenticated
from asepsis.edge.gateway.imaging.proofs import Proven
from asepsis.edge.gateway.imaging.settings import KerberosSettings

LIBRARY: Final = "libgssapi_krb5.so.2"
NAME_BYTES_MAX: Final = 1_024
ANSWER_BYTES_MAX: Final = 65_535
_COMPLETE: Final = 0
_ACCEPT: Final = 2
_FOR_EVER: Final = 0xFFFFFFFF
_ERROR_MASK: Final = 0xFFFF0000
_PRINCIPAL_NAME: Final = bytes.fromhex("2a864886f71201020201")
"""OID 1.2.840.113554.1.2.2.1, GSS_KRB5_NT_PRINCIPAL_NAME."""
_MECHANISM: Final = bytes.fromhex("2a864886f712010202")
"""OID 1.2.840.113554.1.2.2, Kerberos 5."""

_AP_REQ: Final = b"\x6e"
_TOKEN_AP_REQ: Final = b"\x01\x00"


class _Buffer(ctypes.Structure):
    _fields_ = (("length", ctypes.c_size_t), ("value", ctypes.c_void_p))


class _Oid(ctypes.Structure):
    _pack_ = 4 if ctypes.sizeof(ctypes.c_void_p) == 4 else 8
    _fields_ = (("length", ctypes.c_uint32), ("elements", ctypes.c_void_p))


class _OidSet(ctypes.Structure):
    _fields_ = (("count", ctypes.c_size_t), ("elements", ctypes.POINTER(_Oid)))


class KerberosJudge:
    """Tickets for one service principal; use in one thread.

    Args:
        settings: The section.
        replay_folder: Where tickets that were seen are remembered.

    Raises:
        ConfigError: No library, keytab or principal.

    Resource handling: holds the credential until the process ends.
    """

    def __init__(self, settings: KerberosSettings, *, replay_folder: Path) -> None:
        if not Path(settings.keytab_file).is_file():
            raise ConfigError(f"{settings.keytab_file}: no keytab")
        # The library reads these two when its credential is made.
        os.environ["KRB5_KTNAME"] = f"FILE:{settings.keytab_file}"
        os.environ["KRB5RCACHENAME"] = f"file2:{replay_folder / 'replay'}"
        try:
            self._library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise ConfigError(f"{LIBRARY} is not installed") from error
        self._credential = self._acquire(settings.service)

    def judge(self, primary: bytes, secondary: bytes) -> Proven:  # noqa: ARG002 - no second field
        """Return the principal of a ticket; the answer proves us to the peer.

        Raises:
            NotAuthenticated: Another service, an expired, replayed or altered ticket.
        """
        minor = ctypes.c_uint32()
        context, source = ctypes.c_void_p(), ctypes.c_void_p()
        output = _Buffer()
        token, keep = _buffer(framed(primary))
        try:
            major = self._library.gss_accept_sec_context(
                ctypes.byref(minor),
                ctypes.byref(context),
                self._credential,
                ctypes.byref(token),
                None,
                ctypes.byref(source),
                None,
                ctypes.byref(output),
                None,
                None,
                None,
            )
            if major & _ERROR_MASK or major != _COMPLETE or not keep:
                raise NotAuthenticated(f"ticket: GSS-API error {major & 0xFFFFFFFF:#x}")
            answer = ctypes.string_at(output.value, output.length) if output.length else b""
            return Proven(self._display(source), answer=answer[:ANSWER_BYTES_MAX])
        finally:
            self._library.gss_release_buffer(ctypes.byref(minor), ctypes.byref(output))
            self._library.gss_release_name(ctypes.byref(minor), ctypes.byref(source))
            self._library.gss_delete_sec_context(ctypes.byref(minor), ctypes.byref(context), None)

    def _acquire(self, service: str) -> ctypes.c_void_p:
        minor, name, found = ctypes.c_uint32(), ctypes.c_void_p(), ctypes.c_void_p()
        text, keep = _buffer(service.encode())
        kind, mechanism = _oid(_PRINCIPAL_NAME), _oid(_MECHANISM)
        mechanisms = _OidSet(1, ctypes.pointer(mechanism))
        major = self._library.gss_import_name(
            ctypes.byref(minor), ctypes.byref(text), ctypes.byref(kind), ctypes.byref(name)
        )
        if major == _COMPLETE and keep:
            major = self._library.gss_acquire_cred(
                ctypes.byref(minor),
                name,
                ctypes.c_uint32(_FOR_EVER),
                ctypes.byref(mechanisms),
                ctypes.c_int(_ACCEPT),
                ctypes.byref(found),
                None,
                None,
            )
            self._library.gss_release_name(ctypes.byref(minor), ctypes.byref(name))
        if major != _COMPLETE:
            raise ConfigError(
                f"no Kerberos key of {service}", hint="see klist -k of kerberos.keytab_file"
            )
        return found

    def _display(self, name: ctypes.c_void_p) -> str:
        minor, text = ctypes.c_uint32(), _Buffer()
        major = self._library.gss_display_name(ctypes.byref(minor), name, ctypes.byref(text), None)
        try:
            if major != _COMPLETE or not 0 < text.length <= NAME_BYTES_MAX:
                raise NotAuthenticated("a ticket without a principal")
            return ctypes.string_at(text.value, text.length).decode("utf-8", "replace")
        finally:
            self._library.gss_release_buffer(ctypes.byref(minor), ctypes.byref(text))


def framed(token: bytes) -> bytes:
    """Return a plain AP-REQ framed as the GSS-API wants it; anything else as it is.

    Source: RFC 2743 section 3.1; RFC 4121 section 4.1; RFC 4120 section 5.5.1 (application tag 14).
    """
    if token[:1] != _AP_REQ:
        return token
    inner = b"\x06" + bytes((len(_MECHANISM),)) + _MECHANISM + _TOKEN_AP_REQ + token
    return b"\x60\x83" + len(inner).to_bytes(3, "big") + inner


def _buffer(data: bytes) -> tuple[_Buffer, ctypes.Array[ctypes.c_char]]:
    """Return a buffer and the memory that must outlive it."""
    keep = ctypes.create_string_buffer(data)
    return _Buffer(len(data), ctypes.cast(keep, ctypes.c_void_p).value), keep


def _oid(elements: bytes) -> _Oid:
    # The bytes are module constants, so the memory lives as long as the program.
    return _Oid(len(elements), ctypes.cast(ctypes.c_char_p(elements), ctypes.c_void_p).value)
