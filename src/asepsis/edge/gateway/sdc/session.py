"""One session with one SDC device: connect, subscribe, read the MDIB, take reports, see it alive.

The library does SOAP, WS-Eventing, renewal of subscriptions and the schemas. What a report means,
whether one is missing and whether the device is alive is judged here.

Liveness: every second the device is asked for one state. The answer proves that it is there, and
its MdibVersion proves that reports arrive: a version whose reports have not come a second later
ends the session, because values without reports are old ones.
"""

import contextlib
import http.client
import logging
import select
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sdc11073 import observableproperties as properties
from sdc11073.certloader import SSLContextContainer
from sdc11073.consumer import consumerimpl
from sdc11073.definitions_sdc import SdcV1Definitions
from sdc11073.exceptions import ApiUsageError, HTTPRequestHandlingError
from sdc11073.xml_types import msg_types as messages
from sdc11073.xml_types.actions import Actions

from asepsis.core.errors import (
    AsepsisError,
    LimitExceeded,
    NotPermitted,
    Unavailable,
)
from asepsis.edge.gateway.drivers.sdk import (
    VALUES_MAX,
    Conditions,
    Fault,
    Linked,
    Value,
    Values,
)
from asepsis.edge.gateway.sdc import bounded
from asepsis.edge.gateway.sdc.continuity import Continuity, Step, Version
from asepsis.edge.gateway.sdc.mapping import Picture
from asepsis.edge.gateway.sdc.sink import Sink

BEAT_S: Final = 1.0
RENEW_S: Final = 4
"""Subscriptions are renewed so often; a whole number, by which the library counts seconds."""
REREAD_S: Final = 1.0
"""An MDIB is read again at most so often."""
HOLES_S: Final = 5.0
HOLES_MAX: Final = 5
"""So many holes, each so soon after the MDIB was read, end the session."""
REPEAT_NS: Final = 900_000_000
ABOUT_CHARS: Final = 80
EARLY_MAX: Final = 256
"""Reports that wait while the MDIB is read."""
_NOT_SUBSCRIBED: Final = tuple(
    action for action in Actions if "Periodic" in action.value or "OperationInvoked" in action.value
)
"""Periodic reports repeat what episodic ones told, and no operation is ever invoked."""
FAILED: Final = (
    AsepsisError,
    OSError,
    http.client.HTTPException,
    HTTPRequestHandlingError,
    ApiUsageError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
)
"""What the library raises where a device says something unexpected, the last five among them."""

_MESSAGES: Final[Any] = messages
WORDS: Final[Sequence[tuple[type[Exception], str]]] = (
    (NotPermitted, "not-permitted"),
    (LimitExceeded, "limit"),
    (OSError, "no-answer"),
    (http.client.NotConnected, "no-answer"),
    (http.client.HTTPException, "malformed"),
    (HTTPRequestHandlingError, "refused"),
    (AsepsisError, "malformed"),
)
"""Why a session ended, for people; whatever is not here was unexpected."""
Tell = Callable[[Sequence[Any], int], None]


def word_of(error: Exception) -> str:
    """Return one word for what ended a session; nothing of the device's own text is in it."""
    return next((word for kind, word in WORDS if isinstance(error, kind)), "unexpected")


@dataclass(frozen=True, slots=True)
class Ports:
    """What a session works with.

    Attributes:
        way: To the device.
        sink: Where its reports come in.
        url: Of the device service.
        tell: Takes what was understood, and the monotonic time of it.
    """

    way: bounded.Way
    sink: Sink
    url: str
    tell: Tell


class Session:
    """A session; `run` is all of it.

    Args:
        ports: What it works with.
    """

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._lock = threading.Lock()
        self._picture: Picture | None = None
        self._continuity: Continuity | None = None
        self._early: list[tuple[Any, str]] = []
        self._read_s = 0.0
        self._holes = 0
        self._ended = ""
        self._wake = threading.Event()
        self._reread = False
        self._unsure: Version | None = None
        self._consumer = self._make()

    def _make(self) -> Any:
        library: Any = properties
        components = consumerimpl.default_components_factory()
        components.soap_client_class = bounded.client_class(self._ports.way)
        components.msg_reader_class = bounded.Reader
        components.msg_factory_class = bounded.Writer
        # The cable makes the TLS; that there is a context is how the library knows of it.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        consumer = bounded.Consumer(
            self._ports.url,
            SdcV1Definitions,
            SSLContextContainer(context, context),
            epr=uuid.uuid4(),
            components=components,
            socket_timeout=int(bounded.REQUEST_S),
            force_ssl_connect=True,
        )
        consumer.set_used_compression()
        for name in (
            "waveform_report",
            "episodic_metric_report",
            "episodic_alert_report",
            "episodic_component_report",
            "episodic_context_report",
            "episodic_operational_state_report",
            "description_modification_report",
        ):
            library.strongbind(consumer, **{name: partial(self._take, name)})
        return consumer

    def run(self, *, stopping: Callable[[], bool]) -> None:
        """Hold the session until it fails or is to stop.

        Raises:
            Unavailable: It ended; the message is one word.
        """
        consumer = self._consumer
        try:
            self._open()
            while not stopping():
                self._wake.wait(BEAT_S)
                self._wake.clear()
                self._beat()
        except Unavailable:
            raise
        except FAILED as error:
            raise Unavailable(word_of(error)) from error
        finally:
            with contextlib.suppress(*FAILED):
                consumer.stop_all(unsubscribe=stopping())

    def _open(self) -> None:
        sink = self._ports.sink
        sink.begin()
        self._consumer.start_all(
            not_subscribed_actions=_NOT_SUBSCRIBED,
            shared_http_server=sink,
            fixed_renew_interval=RENEW_S,
        )
        self._read()
        self._ports.tell([Linked(_about(self._consumer)), *self._whole()], time.monotonic_ns())

    def _read(self) -> None:
        """Read the MDIB whole; reports that come meanwhile wait and are taken after it."""
        self._read_s = time.monotonic()
        with self._lock:
            self._continuity = None
        answer = self._consumer.get_service_client.get_mdib()
        descriptors, states = answer.result
        picture = Picture(descriptors, states)
        with self._lock:
            if self._picture is not None:
                picture.follow(self._picture)
            self._picture = picture
            self._continuity = Continuity.of(_version(answer.mdib_version_group))
            self._reread = False
            early, self._early = self._early, []
            for message, name in early:
                self._judge(message, name)

    def _whole(self) -> list[Any]:
        """Return what is so now, after the MDIB was read."""
        assert self._picture is not None  # noqa: S101 - set by `_read`
        now_ns = time.monotonic_ns()
        with self._lock:
            values = self._picture.standing(now_ns=now_ns, after_ns=now_ns)
            conditions = self._picture.conditions()
            losses = dict(self._picture.losses)
        words = [Fault(f"left-out:{word}") for word, count in losses.items() if count]
        return [*_parts(values), Conditions(conditions), *words]

    def _beat(self) -> None:
        """See that the device is there and that its reports arrive; tell what still stands."""
        if self._ended or not self._consumer.is_connected:
            raise Unavailable(self._ended or "subscription")
        if self._reread:
            self._read_again()
            return
        asked_ns = time.monotonic_ns()
        answer = self._consumer.get_service_client.get_md_state([self._handle()])
        said = _version(answer.mdib_version_group)
        self._check_reports(said)
        with self._lock:
            assert self._picture is not None  # noqa: S101 - set by `_read`
            values = self._picture.standing(now_ns=asked_ns, after_ns=asked_ns - REPEAT_NS)
        if values:
            self._ports.tell(_parts(values), asked_ns)

    def _read_again(self) -> None:
        """Mend a hole, at most once a second; a device whose reports have many is not read."""
        since_s = time.monotonic() - self._read_s
        self._holes = self._holes + 1 if since_s < HOLES_S else 1
        if self._holes > HOLES_MAX:
            raise Unavailable("holes")
        select.select([], [], [], max(0.0, REREAD_S - since_s))
        self._read()
        self._ports.tell(self._whole(), time.monotonic_ns())

    def _handle(self) -> str:
        assert self._picture is not None  # noqa: S101 - set by `_read`
        return self._picture.any_handle

    def _check_reports(self, said: Version) -> None:
        with self._lock:
            if self._continuity is None:
                return
            step = self._continuity.stands_behind(said)
            missing = self._unsure is not None and (
                self._continuity.stands_behind(self._unsure) is not Step.FITS
            )
            self._unsure = said if step is Step.HOLE else None
        if step is Step.OTHER:
            raise Unavailable("restarted")
        if missing:
            raise Unavailable("reports-missing")

    def _take(self, name: str, message: Any) -> None:
        """Take a report, in the library's own thread; nothing raised here would be seen."""
        if message is None:
            return
        try:
            with self._lock:
                if self._continuity is None:
                    self._early.append((message, name))
                    del self._early[:-EARLY_MAX]
                else:
                    self._judge(message, name)
        except FAILED as error:
            self._end(word_of(error))

    def _judge(self, message: Any, name: str) -> None:
        assert self._continuity is not None  # noqa: S101 - see the callers
        step = self._continuity.take(_version(message.mdib_version_group))
        if step is Step.OTHER:
            self._end("restarted")
            return
        if step is Step.HOLE or name == "description_modification_report":
            self._reread = True
            self._wake.set()
        if step is not Step.OLD:
            self._told(message.p_msg.msg_node, name)

    def _told(self, node: Any, name: str) -> None:
        now_ns, picture = time.monotonic_ns(), self._picture
        assert picture is not None  # noqa: S101 - set with the continuity
        if name == "waveform_report":
            found: Sequence[Any] = picture.samples(_MESSAGES.WaveformStream.from_node(node).State)
        elif name == "episodic_metric_report":
            states = _states(_MESSAGES.EpisodicMetricReport.from_node(node))
            found = _parts(picture.values(states, now_ns=now_ns))
        elif name == "episodic_alert_report":
            states = _states(_MESSAGES.EpisodicAlertReport.from_node(node))
            found = [Conditions(picture.conditions(states))]
        elif name == "episodic_component_report":
            picture.components(_states(_MESSAGES.EpisodicComponentReport.from_node(node)))
            return
        else:
            return  # Contexts and operations: read for their version only.
        if found:
            self._ports.tell(found, now_ns)

    def _end(self, why: str) -> None:
        self._ended = self._ended or why
        self._wake.set()


def _states(report: Any) -> list[Any]:
    return [state for part in report.ReportPart for state in part.values_list]


def _version(group: Any) -> Version:
    return Version(int(group.mdib_version), str(group.sequence_id), group.instance_id)


def _parts(values: Sequence[Value]) -> list[Values]:
    return [
        Values(tuple(values[start : start + VALUES_MAX]))
        for start in range(0, len(values), VALUES_MAX)
    ]


def _about(consumer: Any) -> str:
    """Return what the device says of itself, for people; untrusted."""
    described = consumer.host_description
    names = described.this_model.ModelName if described.this_model is not None else ()
    return "".join(c for c in "".join(str(n.text) for n in names) if c.isprintable())[:ABOUT_CHARS]


def silence_library() -> None:
    """Let the library log nothing: its messages hold whole reports, with values."""
    for name in ("sdc", "sdc.client", "sdc11073", "aiohttp"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    logging.getLogger("sdc").propagate = False
