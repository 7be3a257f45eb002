"""STOW-RS over the hub's clinical listener, streamed from the spool.

Source: DICOM PS3.18 section 10.5 (store transaction), annex I.2 (its JSON answer); RFC 2387.
"""

import http.client
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from asepsis.core.errors import BackPressure, LimitExceeded, TransientError, TrustError, Unavailable
from asepsis.edge.gateway.imaging.consignment import Part
from asepsis.edge.gateway.imaging.dimse import Status
from asepsis.edge.uplink.connection import ANSWER_BYTES_MAX, HubConnection, refusal

PATH: Final = "/dicom-web/studies"
_ACCEPT: Final = "application/dicom+json"
_FAILED: Final = "00081198"
_STORED: Final = "00081199"
_INSTANCE: Final = "00081155"
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
        later: Whether nothing is decided: the hub has no room for it now.
    """

    status: int
    comment: str = ""
    later: bool = False


class StowConnection(HubConnection):
    """Stores instances; arguments, attributes and resources as `HubConnection`."""

    def store(self, parts: Sequence[Part]) -> list[Verdict] | None:
        """Store instances of one sender in one request.

        Args:
            parts: At least one.

        Returns:
            The hub's word about each: durable, refused for good, or to come again; None if it
            refused several as a whole, so that each is to be sent alone.

        Raises:
            TransientError: No connection, or the hub asks to come again.
            TrustError: The hub's certificate does not hold, or it refuses this identity.
            SignatureInvalid: A file of the spool was changed; nothing complete was sent.
        """
        boundary = secrets.token_hex(16)
        media = "Content-Type: application/dicom\r\n\r\n"
        begins = [f"\r\n--{boundary}\r\n{media}".encode() + part.head for part in parts]
        begins[0] = begins[0][2:]
        end = f"\r\n--{boundary}--\r\n".encode()
        length = len(end) + sum(
            len(begin) + part.written.length for begin, part in zip(begins, parts, strict=True)
        )
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Content-Length": str(length),
            "Accept": _ACCEPT,
            **_origin(parts[0]),
        }
        self.open()
        connection = self._http
        if connection is None:
            raise AssertionError("open, and nothing there")
        try:
            whole = _post(connection, headers, _body(begins, parts, end))
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
        retry_after = response.getheader("Retry-After")
        if len(parts) == 1:
            return [verdict(response.status, data, retry_after)]
        instances = [part.written.sop_instance for part in parts]
        return verdicts(response.status, data, retry_after, instances=instances)


def verdict(status: int, body: bytes, retry_after: str | None) -> Verdict:
    """Read the answer to one instance.

    Raises:
        TransientError: Come again.
        TrustError: The hub refuses this identity.
    """
    failures = [_refused(reason) for _, reason in _failures(_document(body))]
    if status in (200, 202) and not failures:
        return Verdict(Status.SUCCESS)
    if failures:
        if failures[0].later:
            raise BackPressure("the hub has no room for the instance")
        return failures[0]
    error = refusal(status, body, retry_after)
    if isinstance(error, (TransientError, TrustError)):
        raise error
    return Verdict(_STATUS_OF.get(status, Status.CANNOT_UNDERSTAND), str(error))


def verdicts(
    status: int, body: bytes, retry_after: str | None, *, instances: Sequence[str]
) -> list[Verdict] | None:
    """Read the answer to several instances; None if it does not say which of them it refuses.

    Args:
        status: HTTP status.
        body: The answer.
        retry_after: Its Retry-After.
        instances: SOP Instance UIDs of the request, in its order.

    Raises:
        TransientError: Come again.
        TrustError: The hub refuses this identity.

    Source: DICOM PS3.18 table 10.5.3-1.
    """
    document = _document(body)
    failures = dict(_failures(document))
    if status == http.HTTPStatus.OK and not failures:
        return [Verdict(Status.SUCCESS)] * len(instances)
    if failures:
        stored = {_text(item, _INSTANCE) for item in _items(document, _STORED)}
        known = stored | set(failures)
        if not known.issuperset(instances):
            return None
        return [
            _refused(failures[uid]) if uid in failures else Verdict(Status.SUCCESS)
            for uid in instances
        ]
    error = refusal(status, body, retry_after)
    if isinstance(error, (TransientError, TrustError)):
        raise error
    return None


def _refused(reason: int) -> Verdict:
    later = reason & 0xFF00 == Status.OUT_OF_RESOURCES
    return Verdict(reason, "refused by the hub", later)


def _origin(part: Part) -> dict[str, str]:
    """Return the headers that say whose images a request brings."""
    written = part.written
    headers = {"Asepsis-Device": written.device, "Asepsis-Calling-AE": written.calling}
    if written.user:
        headers["Asepsis-User"] = written.user.encode("ascii", "replace").decode()
    return headers


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
    begins: Sequence[bytes], parts: Sequence[Part], end: bytes
) -> Iterator[bytes | memoryview]:
    for begin, part in zip(begins, parts, strict=True):
        yield begin
        yield from part.data_set
    yield end


def _document(body: bytes) -> list[object]:
    """Return the data sets of a store instances response; none if it is no DICOM JSON."""
    try:
        document: object = json.loads(body) if body[:1] in {b"{", b"["} else {}
    except (ValueError, RecursionError):
        return []
    return cast("list[object]", document) if isinstance(document, list) else [document]


def _failures(document: list[object]) -> list[tuple[str, int]]:
    """Return UID and failure reason of every instance that was not stored."""
    found: list[tuple[str, int]] = []
    for item in _items(document, _FAILED):
        reasons = _values(item, _REASON)
        known = reasons[0] if reasons and isinstance(reasons[0], int) else 0
        reason = known if 0 < known <= 0xFFFF else Status.PROCESSING_FAILURE
        found.append((_text(item, _INSTANCE), reason))
    return found


def _items(document: list[object], tag: str) -> list[object]:
    return [item for one in document for item in _values(one, tag)]


def _text(item: object, tag: str) -> str:
    values = _values(item, tag)
    return values[0] if values and isinstance(values[0], str) else ""


def _values(document: object, tag: str) -> list[Any]:
    if not isinstance(document, dict):
        return []
    element = cast("dict[str, object]", document).get(tag)
    values = cast("dict[str, object]", element).get("Value") if isinstance(element, dict) else None
    return cast("list[Any]", values) if isinstance(values, list) else []
