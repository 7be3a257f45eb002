"""The gateway's one configuration file: TOML, one frozen struct, unknown keys refused.

Secrets never stand here, only the paths of files that hold them. `docs/reference/gateway.md` lists
every key; `policy.py` turns the peers into what the listeners ask.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from asepsis.core.errors import ConfigError
from asepsis.edge.gateway.drivers.settings import DRIVERS_MAX, DriverEntry
from asepsis.edge.gateway.imaging.settings import ArchiveEntry, ImagingSettings
from asepsis.edge.gateway.outbound.settings import OUTBOUND_MAX, OutboundEntry
from asepsis.edge.gateway.pair.settings import PairSettings
from asepsis.edge.gateway.sdc.settings import SDC_MAX, SdcEntry

FILE_BYTES_MAX: Final = 1_048_576
MIB: Final = 1 << 20
GIB: Final = 1_024 * MIB
HUB_CONNECTIONS_MAX: Final = 7
"""The hub keeps eight connections of one identity; one stays free for a reconnect."""

Name = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,31}$")]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=227)]
Network = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section: frozen, named fields, nothing unknown."""


class Sealing(_Section, frozen=True):
    """Where the key that seals the spool comes from.

    Attributes:
        source: `credential` (systemd, may be bound to a TPM) or `passphrase`.
        passphrase_file: File outside the data folder, readable by its owner only.
    """

    source: Literal["credential", "passphrase"] = "credential"
    passphrase_file: str = ""


class Hub(_Section, frozen=True):
    """The connection to the hub; its addresses were kept at enrolment.

    Attributes:
        connections: Kept TLS connections, 1 to 7; one carries, the others stand by.
        answer_s: Longest wait for an answer, seconds.
        wait_s: How long a sender waits for the hub before the spool's durability is acknowledged
            instead, seconds; only where `ack = "hub"`.
        clock: What judges the hub's certificate: `hub` (signed time) or `system` (this computer's
            clock, where something trustworthy sets it).
    """

    connections: Annotated[int, msgspec.Meta(ge=1, le=HUB_CONNECTIONS_MAX)] = 2
    answer_s: Seconds = 10.0
    wait_s: Seconds = 1.0
    clock: Literal["hub", "system"] = "hub"


class SpoolSettings(_Section, frozen=True):
    """What waits for the hub, sealed, on the gateway's disk.

    Attributes:
        bytes_max: Watermark; at it senders get no acknowledgement.
        refused_bytes_max: The same for messages that the hub refused for good.
        linger_s: How long a group waits for company before it is written, seconds.
        memory_messages_max: Messages per peer whose repetition is recognised.
        memory_s: And for how long, seconds.
    """

    bytes_max: Annotated[int, msgspec.Meta(ge=65_536)] = 2 * GIB
    refused_bytes_max: Annotated[int, msgspec.Meta(ge=65_536)] = 256 * MIB
    linger_s: Annotated[float, msgspec.Meta(ge=0, le=0.1)] = 0.001
    memory_messages_max: Annotated[int, msgspec.Meta(ge=100, le=1_000_000)] = 50_000
    memory_s: Annotated[int, msgspec.Meta(ge=60, le=31_536_000)] = 8 * 86_400


class ListenerTls(_Section, frozen=True):
    """TLS of one listener.

    Attributes:
        chain_file: PEM, leaf first.
        key_file: PEM.
        client_ca_file: PEM with the CA of the senders' certificates; empty asks for none, and the
            senders are known by their address only.
    """

    chain_file: Text
    key_file: Text
    client_ca_file: str = ""


class Listener(_Section, frozen=True):
    """One MLLP port.

    Attributes:
        name: For people and for peers to refer to.
        host: Address to listen on; without TLS it lies in `device_segments`.
        port: 0 lets the kernel choose; `ready.json` says which.
        tls: None means clear text.
        connections_max: Connections of all peers together.
        vlan: VLAN of the segment behind it, as evidence for the hub; 0 says nothing.
    """

    name: Name
    host: Text
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 2_575
    tls: ListenerTls | None = None
    connections_max: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 1_024
    vlan: Annotated[int, msgspec.Meta(ge=0, le=4_094)] = 0


class SenderName(_Section, frozen=True):
    """One MSH-3 and MSH-4 that a peer may write.

    Attributes:
        application: The whole of MSH-3 as it stands on the wire, or its first component.
        facility: The same for MSH-4; empty means that MSH-4 must be empty.
    """

    application: Text
    facility: str = ""


class DeviceEntry(_Section, frozen=True):
    """One device a peer speaks for.

    Attributes:
        name: Its name at the hub, which holds the gateway's declared list.
        identifiers: How OBX-18 or PRT-10 may name it besides its EUI-64: whole field or first
            component.
    """

    name: Text
    identifiers: tuple[Text, ...] = ()


class PeerEntry(_Section, frozen=True):
    """One sender and what it may do.

    Attributes:
        name: For people, findings and the spool.
        listener: Name of the listener it comes to.
        addresses: Its addresses or networks; no two peers of a listener share one.
        certificate_sha256: Fingerprints of its certificate, where the listener asks for one.
        senders: What MSH-3 and MSH-4 may say.
        message_types: MSH-9.1 and MSH-9.2 as `ORU^R01`; `ADT^*` takes every event.
        devices: Whom OBX-18 and PRT-10 may name.
        device_required: Whether an ORU without any device identifier is refused.
        time_zone: IANA zone of times without offset.
        ack: `hub`: positive once durable at the hub, or in the spool while the hub is away;
            `spool`: as soon as it is durable here.
        cleartext: Must be true where the listener has no TLS.
        message_bytes_max: Largest message.
        rate_per_s: Messages a second that are taken for long; more are read later.
        burst: Messages that may come at once after a pause.
        connections_max: Connections at once.
        in_flight_max: Messages of one connection that wait for their acknowledgement.
        idle_s: Longest silence between two messages, seconds.
        frame_s: Longest time from the first to the last byte of a message, seconds.
    """

    name: Name
    listener: Name
    addresses: Annotated[tuple[Network, ...], msgspec.Meta(min_length=1, max_length=256)]
    senders: Annotated[tuple[SenderName, ...], msgspec.Meta(min_length=1, max_length=1_024)]
    message_types: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1, max_length=256)]
    certificate_sha256: tuple[Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")], ...] = ()
    devices: tuple[DeviceEntry, ...] = ()
    device_required: bool = False
    time_zone: Text = "UTC"
    ack: Literal["hub", "spool"] = "hub"
    cleartext: bool = False
    message_bytes_max: Annotated[int, msgspec.Meta(ge=256, le=MIB)] = 262_144
    rate_per_s: Annotated[float, msgspec.Meta(gt=0, le=100_000)] = 50.0
    burst: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 200
    connections_max: Annotated[int, msgspec.Meta(ge=1, le=1_024)] = 4
    in_flight_max: Annotated[int, msgspec.Meta(ge=1, le=256)] = 8
    idle_s: Seconds = 3_600.0
    frame_s: Seconds = 10.0


class Settings(_Section, frozen=True):
    """Everything.

    Attributes:
        data: Folder of identity and spool; relative to the file's folder.
        listeners: MLLP ports; without any the HL7 family does not run.
        peers: Senders; whoever is not listed is not served.
        device_segments: Networks in which clear text may be spoken at all.
        sealing: Where the spool's key comes from.
        hub: The connection to the hub.
        spool: What waits here.
        imaging: DICOM; without it the imaging family does not run.
        archives: PACS to which images are brought.
        drivers: Devices with a vendor's own protocol; without any, and without `sdc`, the family
            does not run.
        sdc: Devices that speak SDC (ISO/IEEE 11073); they share the drivers' family.
        outbound: What is fetched from the hub for receivers on the gateway's own segment.
        pair: The other gateway with the same service address.
    """

    listeners: Annotated[tuple[Listener, ...], msgspec.Meta(max_length=64)] = ()
    peers: Annotated[tuple[PeerEntry, ...], msgspec.Meta(max_length=4_096)] = ()
    data: str = "."
    device_segments: tuple[Network, ...] = ()
    sealing: Sealing = Sealing()
    hub: Hub = Hub()
    spool: SpoolSettings = SpoolSettings()
    imaging: ImagingSettings | None = None
    archives: Annotated[tuple[ArchiveEntry, ...], msgspec.Meta(max_length=16)] = ()
    drivers: Annotated[tuple[DriverEntry, ...], msgspec.Meta(max_length=DRIVERS_MAX)] = ()
    sdc: Annotated[tuple[SdcEntry, ...], msgspec.Meta(max_length=SDC_MAX)] = ()
    outbound: Annotated[tuple[OutboundEntry, ...], msgspec.Meta(max_length=OUTBOUND_MAX)] = ()
    pair: PairSettings | None = None


def read_settings(path: Path) -> Settings:
    """Read the file; relative paths in it count from its own folder.

    Raises:
        ConfigError: Absent, too long, no TOML, an unknown key or a value out of range.
    """
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1)
        if len(text) > FILE_BYTES_MAX:
            raise ConfigError(f"{path}: longer than {FILE_BYTES_MAX} bytes")
        settings = msgspec.convert(tomllib.loads(text.decode()), Settings)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return msgspec.structs.replace(settings, data=str((path.parent / settings.data).resolve()))
