"""STOW-RS over the hub's clinical listener: one instance a request, streamed from the spool.

Source: DICOM PS3.18 section 10.5 (store transaction), annex I.2 (its JSON answer); RFC 2387.
"""

import http.client
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from asepsis.core.errors import BackPressure, LimitExceeded, TransientError, TrustError, Unavailable
from asepsis.edge.gateway.imaging.channel import Written
from asepsis.edge.gateway.imaging.dimse import Status
from asepsis.edge.uplink.connection import ANSWER_BYTES_MAX, HubConnection, refusal

PATH: Final = "/dicom-web/studies"
_ACCEPT: Final = "application/dicom+json"
_FAILED: Final = "00081198"
_REASON: Final = "00081197"
_STATUS_OF: Final[Mapping[int, Status]] = {
    409: Status.DATA_SET_MISMATCH,
    413: Status.OUT_OF_RESOURCES,
    422: Status.DATA_SET_MISMATCH,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the hub says about one instance.

    Attributes:
        status: DIMSE status; `Status.SUCCESS` once it is durable there.
        comment: Why not, in words for a modality.
    """

    status: int
    comment: str = ""


class StowConnection(HubConnection):
    """Stores instances; arguments, attributes and resources as `HubConnection`."""

    def store(
        self, head: bytes, data_set: Iterable[bytes | memoryview], *, written: Written
    ) -> Verdict:
        """Store one instance.

        Args:
            head: Preamble and file meta information.
            data_set: Its data set, in pieces.
            written: What it is and who sent it.

        Returns:
            The hub's word: durable, or refused for good.

        Raises:
            TransientError: No connection, or the hub asks to come again.
            TrustError: The hub's certificate does not hold, or it refuses this identity.
            SignatureInvalid: The spool's file was changed; nothing complete was sent.
        """
        boundary = secrets.token_hex(16)
        begin = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + head
        end = f"\r\n--{boundary}--\r\n".encode()
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Content-Length": str(len(begin) + written.length + len(end)),
            "Accept": _ACCEPT,
            "Asepsis-Device": written.device,
            "Asepsis-Calling-AE": written.calling,
        }
        if written.user:
            headers["Asepsis-User"] = written.user.encode("ascii", "replace").decode()
        self.open()
        connection = self._http
        if connection is None:
            raise AssertionError("open, and nothing there")
        try:
            whole = _post(connection, headers, _body(begin, data_set, end))
            response = connection.getresponse()
            data = response.read(ANSWER_BYTES_MAX + 1)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unavailable(f"no answer from the hub ({type(error).__name__})") from error
        except BaseException:
            self.close()  # Half a body was sent: the connection cannot be used again.
            raise
        if not whole or len(data) > ANSWER_BYTES_MAX:
            self.close()
        if len(data) > ANSWER_BYTES_MAX:
            raise LimitExceeded("the hub's answer is too long")
        return verdict(response.status, data, response.getheader("Retry-After"))


def verdict(status: int, body: bytes, retry_after: str | None) -> Verdict:
    """Read the answer to one instance.

    Raises:
        TransientError: Come again.
        TrustError: The hub refuses this identity.
    """
    failures = _failures(body)
    if status in (200, 202) and not failures:
        return Verdict(Status.SUCCESS)
    if failures:
        if failures[0] & 0xFF00 == Status.OUT_OF_RESOURCES:
            raise BackPressure("the hub has no room for the instance")
        return Verdict(failures[0], "refused by the hub")
    error = refusal(status, body, retry_after)
    if isinstance(error, (TransientError, TrustError)):
        raise error
    return Verdict(_STATUS_OF.get(status, Status.CANNOT_UNDERSTAND), str(error))


def _post(
    connection: http.client.HTTPSConnection,
    headers: Mapping[str, str],
    body: Iterator[bytes | memoryview],
) -> bool:
    """Send a request; return False if the hub hung up early, as it may with a 413 or 503."""
    try:
        connection.request("POST", PATH, body=body, headers=dict(headers))
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def _body(
    begin: bytes, data_set: Iterable[bytes | memoryview], end: bytes
) -> Iterator[bytes | memoryview]:
    yield begin
    yield from data_set
    yield end


def _failures(body: bytes) -> list[int]:
    """Return the failure reasons of a store instances response; empty if it names none."""
    try:
        document: object = json.loads(body) if body[:1] in {b"{", b"["} else {}
    except (ValueError, RecursionError):
        return []
    several = cast("list[object]", document) if isinstance(document, list) else [document]
    found: list[int] = []
    for item in [item for one in several for item in _values(one, _FAILED)]:
        reasons = _values(item, _REASON)
        known = reasons[0] if reasons and isinstance(reasons[0], int) else 0
        found.append(known if 0 < known <= 0xFFFF else Status.PROCESSING_FAILURE)
    return found


def _values(document: object, tag: str) -> list[Any]:
    if not isinstance(document, dict):
        return []
    element = cast("dict[str, object]", document).get(tag)
    values = cast("dict[str, object]", element).get("Value") if isinstance(element, dict) else None
    return cast("list[Any]", values) if isinstance(values, list) else []
