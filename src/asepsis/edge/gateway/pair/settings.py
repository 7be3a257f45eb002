"""The section `[pair]` of a gateway's settings."""

from typing import Annotated

import msgspec

from asepsis.edge.uplink.connection import Endpoint

Words = Annotated[
    tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=400)], ...],
    msgspec.Meta(max_length=32),
]


class PairSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The other gateway, and how the service address comes and goes.

    Attributes:
        partner: The other gateway's name at the hub.
        certificate_file: PEM of the other gateway's link certificate; no other is let in.
        listen_host: Address for the link from the other gateway; not the service address.
        listen_port: Its port.
        partner_host: Where the other gateway's link listens.
        partner_port: Its port.
        take: Command that brings the service address to this computer; empty where something else
            moves it by `<data>/run/active`.
        give: Command that takes the address away.
        command_s: Longest time for one of them, seconds.
    """

    partner: Annotated[str, msgspec.Meta(pattern="^urn:uuid:[0-9a-f-]{36}$")]
    certificate_file: Annotated[str, msgspec.Meta(min_length=1, max_length=400)]
    listen_host: Annotated[str, msgspec.Meta(min_length=1, max_length=227)]
    partner_host: Annotated[str, msgspec.Meta(min_length=1, max_length=227)]
    listen_port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 7_443
    partner_port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 7_443
    take: Words = ()
    give: Words = ()
    command_s: Annotated[float, msgspec.Meta(gt=0, le=30)] = 3.0

    @property
    def place(self) -> Endpoint:
        """Where the other gateway's link listens."""
        return Endpoint(self.partner_host, self.partner_port)
