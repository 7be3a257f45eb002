"""Spoils one kind of answer of a hub on purpose, so that a check can be seen to fail.

A layer between the real hub and its listeners: what it spoils is a row of a table, everything else
passes unchanged.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
Told = dict[str, Any]
Retell = Callable[[str, Told], Told | None]
"""Gets name and data of an event of a live view; returns what is told instead, or None."""
Reread = Callable[[Told], Told | None]
"""Gets a record of a consumer lane; returns what is answered instead, or None."""
Recast = Callable[[bytes], bytes]
"""Gets a part of a body; returns as many other bytes."""
STORED: Final = b'{"outcome":"stored","position":1}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoiler:
    """What is spoiled; the fields that are left empty spoil nothing.

    Attributes:
        paths: Starts of the paths whose answers are spoiled.
        ending: What such a path ends with.
        statuses: Status codes, each with what is answered instead.
        body: Body of an answer whose status was spoiled; None keeps it.
        drop_headers: Names of headers, lower case, that answers lose.
        retell: Changes the events of live views.
        reread: Changes the records of consumer lanes.
        recast: Changes the bytes of each part of an answer, whose length stays.
        unheard: Whether such a request is answered 204 and never reaches the hub.
    """

    paths: tuple[str, ...] = ("/",)
    ending: str = ""
    statuses: Mapping[int, int] = field(default_factory=dict[int, int])
    body: bytes | None = None
    drop_headers: frozenset[bytes] = frozenset()
    retell: Retell | None = None
    reread: Reread | None = None
    recast: Recast | None = None
    unheard: bool = False

    def wrap(self, app: App) -> App:
        """Return the application behind this layer."""

        async def spoiled(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
            path = scope.get("path", "")
            meant = path.startswith(self.paths) and path.endswith(self.ending)
            if scope["type"] != "http" or not meant:
                await app(scope, receive, send)
            elif self.unheard:
                await send({"type": "http.response.start", "status": 204, "headers": []})
                await send({"type": "http.response.body", "body": b""})
            else:
                await app(scope, receive, _Spoiling(self, send).send)

        return spoiled


class _Spoiling:
    """One answer on its way."""

    def __init__(self, spoiler: Spoiler, send: Send) -> None:
        self._spoiler = spoiler
        self._send = send
        self._start: Message = {}
        self._replaced: bytes | None = None

    async def send(self, message: Message) -> None:
        """Pass one message on, spoiled if it is of that kind."""
        if message["type"] == "http.response.start":
            self._start = self._headed(message)
            return
        body = cast("bytes", message.get("body", b""))
        if self._start:
            body = self._bodied(body)
            start, self._start = self._start, {}
            await self._send(start)
        elif self._replaced is not None:
            body = b""
        elif self._spoiler.retell:
            body = retold(body, self._spoiler.retell)
        elif self._spoiler.recast:
            body = self._spoiler.recast(body)
        await self._send(dict(message) | {"body": body})

    def _headed(self, message: Message) -> Message:
        status = cast("int", message["status"])
        becomes = self._spoiler.statuses.get(status, status)
        if becomes != status and self._spoiler.body is not None:
            self._replaced = self._spoiler.body
        headers = [
            (name, value)
            for name, value in message["headers"]
            if name.lower() not in self._spoiler.drop_headers
        ]
        return dict(message) | {"status": becomes, "headers": headers}

    def _bodied(self, body: bytes) -> bytes:
        """Return the first part of a body, with a length that fits."""
        if self._replaced is not None:
            body = self._replaced
        elif self._spoiler.reread and body.startswith(b'{"records"'):
            body = reread(body, self._spoiler.reread)
        elif self._spoiler.retell:
            return retold(body, self._spoiler.retell)
        elif self._spoiler.recast:
            return self._spoiler.recast(body)
        else:
            return body
        self._start["headers"] = [
            (name, b"%d" % len(body) if name.lower() == b"content-length" else value)
            for name, value in self._start["headers"]
        ]
        return body


def retold(body: bytes, retell: Retell) -> bytes:
    """Return the events of a part of a stream as they are told instead."""
    told: list[bytes] = []
    for block in body.split(b"\n\n"):
        lines = [line.partition(b": ") for line in block.split(b"\n")]
        fields = {name: value for name, _, value in lines}
        if b"event" not in fields or b"data" not in fields:
            told.append(block)
            continue
        data = retell(fields[b"event"].decode(), json.loads(fields[b"data"]))
        if data is None:
            continue
        head = [b"%b: %b" % pair for pair in fields.items() if pair[0] != b"data"]
        told.append(b"\n".join([*head, b"data: " + json.dumps(data).encode()]))
    return b"\n\n".join(told)


def reread(body: bytes, change: Reread) -> bytes:
    """Return the answer of a consumer lane with other records."""
    document = json.loads(body)
    records = [change(record) for record in document["records"]]
    return json.dumps({"records": [record for record in records if record]}).encode()
