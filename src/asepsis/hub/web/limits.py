"""Every limit of a listener, in one frozen value.

`docs/reference/limits.md` says what happens at each of them.
"""

from dataclasses import dataclass, fields
from typing import Final

from asepsis.core.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one listener takes from outside before it refuses.

    Attributes:
        head_bytes_max: Request line and headers together, counted on raw bytes.
        header_count_max: Header fields of one request.
        target_bytes_max: Path and query of one request.
        body_bytes_max: Hard cap of one request body; a route may set less with `bounded_body`.
        stream_bytes_max: The same of a body that its route takes as a stream (see
            `Listener.streams`).
        stream_stall_s: A streamed body of which nothing comes although somebody would read it.
        request_s: From a request's first byte (or the end of the handshake) to its last.
        handshake_s: From the accepted TCP connection to the end of the TLS handshake.
        idle_s: A kept connection without a request.
        write_stall_s: A peer that does not read while the write buffer is full.
        write_buffer_bytes_max: Unsent bytes at which a streaming answer waits for the peer.
        linger_s: From the last answer to the forced end of the connection.
        pipelined_max: Requests that wait behind the one being answered.
        connections_max: Connections of the listener, handshakes included.
        handshakes_max: TLS handshakes in progress; fewer while the turns of the event loop are
            long, so that a storm costs established connections a few milliseconds only.
        unfinished_max: Connections past the handshake whose request is not complete.
        patience_s: At one of these two limits a connection that is older than this is cut for one
            that waits; an honest handshake or request takes milliseconds.
        per_address_max: Connections of one peer address; None where identities are counted.
        per_identity_max: Connections of one identity; at the limit the oldest is closed, so that
            a device whose old connections died unseen is never locked out.
    """

    head_bytes_max: int = 32_768
    header_count_max: int = 100
    target_bytes_max: int = 8_192
    body_bytes_max: int = 16_777_216
    stream_bytes_max: int = 17_179_869_184
    stream_stall_s: float = 20.0
    request_s: float = 20.0
    handshake_s: float = 10.0
    idle_s: float = 75.0
    write_stall_s: float = 10.0
    write_buffer_bytes_max: int = 65_536
    linger_s: float = 1.0
    pipelined_max: int = 8
    connections_max: int = 4_096
    handshakes_max: int = 128
    unfinished_max: int = 512
    patience_s: float = 4.0
    per_address_max: int | None = None
    per_identity_max: int | None = 8

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and value <= 0:
                raise ConfigError(f"limit {field.name} must be above zero, not {value}")


CLINICAL: Final = Limits()
"""Mutual TLS required: connections are counted per identity."""

BEFORE_IDENTITY: Final = Limits(
    head_bytes_max=16_384,
    body_bytes_max=65_536,
    request_s=10.0,
    idle_s=15.0,
    connections_max=1_024,
    unfinished_max=256,
    per_address_max=64,
)
"""Enrolment and time: peers without a hospital identity, counted per address."""

DDI: Final = Limits(
    head_bytes_max=16_384,
    body_bytes_max=65_536,
    connections_max=8_192,
    per_address_max=1_024,
    write_stall_s=60.0,
)
"""Update clients: many may stand behind one address, and one that installs while it downloads reads
as slowly as its flash memory writes."""

PEOPLE: Final = Limits(
    body_bytes_max=1_048_576, connections_max=1_024, unfinished_max=256, per_address_max=128
)
"""Browsers and people's tools: no client certificate, counted per address."""
