"""Requests to one device and its answers, bounded: one address, no compression, sizes.

The library's client connects wherever the device's own metadata points, unpacks what is compressed
and reads any length. This one speaks to the declared address only and refuses the rest.
"""

import http.client
import logging
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from sdc11073 import schema_resolver
from sdc11073.consumer.consumerimpl import SdcConsumer, default_components_factory
from sdc11073.definitions_sdc import SdcV1Definitions
from sdc11073.pysoap.msgfactory import MessageFactory
from sdc11073.pysoap.msgreader import MessageReader, ReceivedMessage
from sdc11073.pysoap.soapclient import SoapClient

from asepsis.core.errors import FramingError, LimitExceeded, NotPermitted

ANSWER_BYTES_MAX: Final = 4 * 1_048_576
"""Largest answer: a whole MDIB; the largest of the published ones has some 80 KB."""
REPORT_BYTES_MAX: Final = 1_048_576
REQUEST_S: Final = 4.0
_DECLARATION: Final = re.compile(
    rb"""<\?xml\s{1,8}version\s{0,8}=\s{0,8}["']1\.0["']"""
    rb"""(\s{1,8}encoding\s{0,8}=\s{0,8}["'](utf-8|us-ascii)["'])?"""
    rb"""(\s{1,8}standalone\s{0,8}=\s{0,8}["'](yes|no)["'])?\s{0,8}\?>""",
    re.IGNORECASE,
)
_DOCTYPE: Final = re.compile(rb"<!\s*(DOCTYPE|ENTITY)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Way:
    """How to reach one device.

    Attributes:
        netloc: The only authority that may be spoken to.
        local: Host of the URLs to which it sends its reports.
        dial: Returns a socket whose other end is a proved TLS connection to it.
    """

    netloc: str
    local: str
    dial: Callable[[], socket.socket]


def check_xml(text: bytes) -> None:
    """Refuse what no SDC message holds: another encoding than UTF-8, a DTD, entities.

    Raises:
        FramingError: It is there.

    Source: XML 1.0 sections 2.8 and 4.3.3; DPWS 1.1 section 3.1 (UTF-8, no DTD).
    """
    start = text.removeprefix(b"\xef\xbb\xbf")
    declared = start[:5].lower() == b"<?xml"
    if not start.startswith(b"<") or b"\0" in start[:64]:
        raise FramingError("not XML in UTF-8")
    if declared and not _DECLARATION.match(start):
        raise FramingError("a declaration of another encoding than UTF-8")
    if _DOCTYPE.search(text):
        raise FramingError("a message with a DTD")


_schemas: dict[tuple[object, ...], Any] = {}
"""Read once, before the process confined itself; nothing of them depends on a device."""


def _schema(specs: Sequence[Any], helper: Any) -> Any:
    key = tuple(sorted(str(spec) for spec in specs))
    if key not in _schemas:
        library: Any = schema_resolver
        _schemas[key] = library.mk_schema_validator(list(specs), helper)
    return _schemas[key]


def load_schemas() -> None:
    """Read the schemas that every session needs: later no file can be opened."""
    for kind in (Reader, Writer):
        kind(SdcV1Definitions, consumer_specs(), logging.getLogger("sdc"))


def consumer_specs() -> list[Any]:
    """Return the additional schemas that the library's consumer asks for."""
    handlers = default_components_factory().service_handlers
    return list({spec for handler in handlers for spec in handler.additional_namespaces})


class Writer(MessageFactory):
    """The library's writer of messages; its schemas are read once."""

    def __init__(self, definitions: Any, specs: Any, logger: Any, validate: bool = True) -> None:  # noqa: FBT001, FBT002 - the library's own signature
        named = definitions.data_model.ns_helper
        self.schema_specs = [entry.value for entry in named.prefix_enum] + list(specs or ())
        self._logger = logger
        self.ns_hlp = named
        self._validate = validate
        self._xml_schema = _schema(self.schema_specs, named)


class Reader(MessageReader):
    """The library's reader of messages, schema validation included, behind `check_xml`."""

    def __init__(self, definitions: Any, specs: Any, logger: Any, validate: bool = True) -> None:  # noqa: FBT001, FBT002 - as above
        self.ns_hlp = definitions.data_model.ns_helper
        self.schema_specs = [entry.value for entry in self.ns_hlp.prefix_enum] + list(specs or ())
        self._logger = logger
        self._data_model = definitions.data_model
        self._validate = validate
        self._xml_schema = _schema(self.schema_specs, self.ns_hlp)

    def read_received_message(self, xml_text: bytes, validate: bool = True) -> ReceivedMessage:  # noqa: FBT001, FBT002 - the library's own signature
        """Read a message.

        Raises:
            FramingError: It holds what no SDC message holds.
        """
        check_xml(xml_text)
        return super().read_received_message(xml_text, validate)

    @staticmethod
    def read_wsdl(wsdl_text: bytes) -> Any:
        """Leave a service description unread: what it says is known from the standard."""
        del wsdl_text
        return _Unread()


class _Unread:
    """Stands for a service description."""

    def getroot(self) -> None:
        """Return that there is none."""


class _Answer(http.client.HTTPResponse):
    """An answer of bounded length without compression."""

    _taken = 0

    def begin(self) -> None:
        super().begin()
        encoding = self.getheader("content-encoding", "identity")
        if encoding.strip().lower() != "identity":
            raise http.client.HTTPException("a compressed answer that nobody asked for")
        if self.length is not None and self.length > ANSWER_BYTES_MAX:
            raise http.client.HTTPException("too long an answer")

    def read(self, amt: int | None = None) -> bytes:
        data = super().read(ANSWER_BYTES_MAX + 1 if amt is None else amt)
        self._taken += len(data)
        if self._taken > ANSWER_BYTES_MAX:
            raise http.client.HTTPException("too long an answer")
        return data


class _Connection(http.client.HTTPConnection):
    """HTTP to the declared device; the cable process makes the TLS of it."""

    response_class = _Answer

    def __init__(self, way: Way) -> None:
        super().__init__(way.netloc, timeout=REQUEST_S)
        self._way = way

    def connect(self) -> None:
        """Connect; the cable proves whom to before a byte of a request is sent."""
        self.sock = self._way.dial()
        self.sock.settimeout(REQUEST_S)


class Consumer(SdcConsumer):
    """The library's consumer, over the cable."""

    def _connect(self) -> None:
        # The library's own reads a certificate that the cable has judged already.
        client: Any = self.get_soap_client(self._provider_address)
        client.connect()


def client_class(way: Way) -> type[SoapClient]:
    """Return the library's SOAP client, bound to one way."""

    class Client(SoapClient):
        """Speaks to one device only, always over the cable."""

        def __init__(self, netloc: str, *arguments: Any, **named: Any) -> None:
            if netloc != way.netloc:
                raise NotPermitted("the device names a service at another address")
            named["supported_encodings"] = []
            super().__init__(netloc, *arguments, **named)

        def connect(self) -> None:
            """Connect; the library's own asks the socket for an address, which a pair has not."""
            self._has_connection_error = False
            made = _Connection(way)
            made.connect()
            self._http_connection: Any = made
            self.sock_name = (way.local, 0)

        def get_from_url(self, url: str, msg: str) -> bytes:
            """Fetch nothing: only service descriptions would be, which are not read."""
            del url, msg
            return b""

    return cast("type[SoapClient]", Client)


def read_bounded(read: Callable[[int], bytes], line: Callable[[int], bytes], length: str) -> bytes:
    """Read the body of a report: by its length, or in chunks where it has none.

    Args:
        read: Reads so many bytes.
        line: Reads a line of at most so many bytes.
        length: Value of Content-Length, empty for chunks.

    Raises:
        LimitExceeded: Longer than `REPORT_BYTES_MAX`.
        FramingError: Cut off, or no length.

    Source: RFC 9112 sections 6.2 and 7.1.
    """
    if length:
        return _exactly(read, _size(length, 10))
    body = bytearray()
    while size := _size(line(32).split(b";")[0].decode("ascii", "replace").strip(), 16):
        if len(body) + size > REPORT_BYTES_MAX:
            raise LimitExceeded("too long a report")
        body += _exactly(read, size)
        if _exactly(read, 2) != b"\r\n":
            raise FramingError("no end of a chunk")
    if line(32).strip():
        raise FramingError("trailers are not taken")
    return bytes(body)


def _size(text: str, base: int) -> int:
    if not re.fullmatch(r"[0-9A-Fa-f]{1,9}", text):
        raise FramingError("no length")
    size = int(text, base)
    if size > REPORT_BYTES_MAX:
        raise LimitExceeded("too long a report")
    return size


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    data = read(size)
    if len(data) != size:
        raise FramingError("cut off")
    return data
