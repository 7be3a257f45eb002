"""The section `[[outbound]]` of `gateway.toml`: what is fetched, and whom it is brought to."""

from typing import Annotated, Final, Literal

import msgspec

OUTBOUND_MAX: Final = 16


class OutboundEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One destination.

    Attributes:
        destination: Its name at the hub, where an administrator entered this gateway for it.
        host: Address of the receiver.
        port: Its MLLP port.
        cleartext: Must be true without `ca_file`; the address then lies in `device_segments`.
        ca_file: PEM with the CA of the receiver's certificate; with it TLS is spoken.
        server_name: Name in that certificate, by default the host.
        in_flight: Messages that may wait for their acknowledgement.
        answer_s: Longest wait for one, seconds.
        tries: How often a message is sent that is answered AE or CE, before it counts as refused.
    """

    destination: Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,31}$")]
    host: Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 2_575
    kind: Literal["mllp"] = "mllp"
    cleartext: bool = False
    ca_file: str = ""
    server_name: Annotated[str, msgspec.Meta(max_length=253)] = ""
    in_flight: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    answer_s: Annotated[float, msgspec.Meta(ge=0.1, le=600)] = 30.0
    tries: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
