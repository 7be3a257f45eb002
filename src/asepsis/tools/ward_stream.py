"""The stream of a ward view for programs: read in a thread, opened again whenever it ends.

Source: docs/reference/ward-stream.md; WHATWG HTML section 9.2.
"""

import contextlib
import json
import queue
import random
import ssl
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from asepsis.core.errors import AsepsisError, ConfigError, InputError, NotPermitted, Unavailable
from asepsis.core.trust import tls

CONNECT_S: Final = 3.0
SILENCE_S: Final = 3.0
"""The hub says something every second; after this silence the stream counts as broken."""
RETRY_S_MIN: Final = 0.25
RETRY_S_MAX: Final = 0.5
QUEUE_MAX: Final = 10_000
LINE_CHARS_MAX: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Hub:
    """Where the people listener is, and what is shown to it.

    Attributes:
        url: `https://host:port`.
        root_path: The hospital root, PEM.
        token_path: File with the person's token.
    """

    url: str
    root_path: Path
    token_path: Path

    def client(self) -> httpx.Client:
        """Return a client that keeps one connection.

        Raises:
            ConfigError: A file cannot be read.
        """
        try:
            token = self.token_path.read_text("ascii").strip()
            root = self.root_path.read_text("ascii")
        except OSError as error:
            raise ConfigError(
                f"cannot read {error.filename}", hint="name the token of a person who may watch"
            ) from error
        return httpx.Client(
            base_url=self.url,
            verify=tls.client_context(root_der=ssl.PEM_cert_to_DER_cert(root)),
            timeout=httpx.Timeout(CONNECT_S, read=SILENCE_S),
            headers={"Authorization": f"Bearer {token}", "Accept": "text/event-stream"},
            trust_env=False,
        )


@dataclass(frozen=True, slots=True)
class Told:
    """One event: what the hub said, or `closed` when a stream ended.

    Attributes:
        event: Its name.
        data: Its content.
    """

    event: str
    data: dict[str, Any]


class WardStream:
    """Follows one ward until closed.

    Args:
        hub: Where and who.
        ward: Point of care; None for every bed.
        waveforms: Whether samples are wanted.

    Raises:
        ConfigError: A file cannot be read.

    Resource handling: `start` starts a thread; `close` ends it.
    """

    def __init__(self, hub: Hub, *, ward: str | None = None, waveforms: bool = False) -> None:
        self._http = hub.client()
        self._query = {"waveforms": "1" if waveforms else "0"} | ({"ward": ward} if ward else {})
        self._told: queue.Queue[Told | AsepsisError] = queue.Queue(QUEUE_MAX)
        self._stopping = threading.Event()
        self._again = threading.Event()
        self._last_id: str | None = None
        self._thread = threading.Thread(target=self._run, name="ward-stream", daemon=True)

    def start(self) -> None:
        """Open the stream."""
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._stopping.set()
        self._again.set()
        self._thread.join(CONNECT_S + SILENCE_S)
        self._http.close()

    def again(self) -> None:
        """Give the present stream up and open another one."""
        self._again.set()

    def get(self, timeout_s: float) -> Told | None:
        """Return the next event, or None after the timeout.

        Raises:
            NotPermitted: This person may not watch; there is no use in trying again.
            InputError: The hub refuses the request.
        """
        try:
            found = self._told.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(found, AsepsisError):
            raise found
        return found

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._again.clear()
            try:
                self._once()
            except (NotPermitted, InputError) as error:
                self._told.put(error)
                return
            except (Unavailable, httpx.HTTPError, ValueError):
                # Gone, silent or garbled: the same to who watches.
                pass
            self._put(Told("closed", {}))
            # Many displays lose one hub at one moment; they must not all come back at another.
            self._stopping.wait(random.uniform(RETRY_S_MIN, RETRY_S_MAX))  # noqa: S311 - jitter

    def _once(self) -> None:
        headers = {"Last-Event-ID": self._last_id} if self._last_id is not None else {}
        with self._http.stream("GET", "/views/ward", params=self._query, headers=headers) as answer:
            _refuse(answer)
            for told, event_id in events(answer.iter_lines()):
                self._put(told)
                self._last_id = event_id or self._last_id
                if self._stopping.is_set() or self._again.is_set():
                    return

    def _put(self, told: Told) -> None:
        with contextlib.suppress(queue.Full):
            self._told.put_nowait(told)
            return
        # The reader is far behind: what waits is of the past, and nobody is told it as the present.
        while not self._told.empty():
            with contextlib.suppress(queue.Empty):
                self._told.get_nowait()
        self._told.put(Told("closed", {}))
        self._again.set()


def events(lines: Iterable[str]) -> Iterator[tuple[Told, str | None]]:
    """Read Server-Sent Events; yields each with its id.

    Raises:
        ValueError: Content that is no JSON object, or a line without end.
    """
    name, data, event_id = "message", "", None
    for line in lines:
        if len(line) > LINE_CHARS_MAX:
            raise ValueError("a line of the stream is too long")
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield Told(name, json.loads(data)), event_id
            name, data, event_id = "message", "", None
        elif field == "event":
            name = value
        elif field == "data":
            data = value
        elif field == "id":
            event_id = value


def _refuse(answer: httpx.Response) -> None:
    if answer.is_success:
        return
    answer.read()
    if answer.status_code in (401, 403):
        raise NotPermitted(
            "this person may not watch a ward", hint="use the token of a clinician or viewer"
        )
    if answer.status_code < 500:
        raise InputError(f"the hub refuses the view ({answer.status_code})")
    raise Unavailable(f"the hub answers {answer.status_code}")
