"""The hub's one configuration file: TOML, one frozen struct, unknown keys refused.

Every feature owns a struct; this module composes them. Secrets never stand here, only the paths of
files that hold them. `docs/reference/settings.md` lists every key.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from asepsis.core.errors import ConfigError
from asepsis.core.journal.limits import MIB, LaneBudget
from asepsis.core.model.lanes import Lane
from asepsis.core.wire.message_record import GROUP_BYTES_MAX
from asepsis.hub.access.sessions import SessionLimits

FILE_BYTES_MAX: Final = 262_144
HOUR_S: Final = 3_600
DAY_S: Final = 86_400
GIB: Final = 1_024 * MIB

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
Host = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section: frozen, named fields, nothing unknown."""


class Address(_Section, frozen=True):
    """Where a listener listens; port 0 lets the kernel choose and `run/ready.json` says which."""

    host: Host = "127.0.0.1"
    port: Port = 0


class Listeners(_Section, frozen=True):
    """The three listeners, and the one of update clients, which is off unless it has an address."""

    clinical: Address = Address(port=8443)
    enrolment: Address = Address(port=8444)
    people: Address = Address(port=8445)
    ddi: Address | None = None


class Sealing(_Section, frozen=True):
    """Where the key above all keys comes from.

    Attributes:
        source: `credential` (systemd, may be bound to a TPM), `passphrase` or `throw-away` (demo).
        passphrase_file: File outside the data folder, readable by its owner only.
    """

    source: Literal["credential", "passphrase", "throw-away"] = "credential"
    passphrase_file: str = ""


class Budget(_Section, frozen=True):
    """What one lane of the journal may hold.

    Attributes:
        bytes_max: Watermark in bytes; at it the lane answers 503.
        age_s: Seconds after which a delivered record expires.
    """

    bytes_max: Annotated[int, msgspec.Meta(ge=65_536)]
    age_s: Annotated[int, msgspec.Meta(ge=60)]


class Lanes(_Section, frozen=True):
    """One budget for each lane; the defaults hold a day of 1,000 beds."""

    alert: Budget = Budget(bytes_max=2 * GIB, age_s=30 * DAY_S)
    vitals: Budget = Budget(bytes_max=200 * GIB, age_s=2 * DAY_S)
    waveform: Budget = Budget(bytes_max=400 * GIB, age_s=DAY_S)
    late: Budget = Budget(bytes_max=50 * GIB, age_s=7 * DAY_S)
    message: Budget = Budget(bytes_max=20 * GIB, age_s=7 * DAY_S)
    image_index: Budget = Budget(bytes_max=2 * GIB, age_s=7 * DAY_S)
    event: Budget = Budget(bytes_max=2 * GIB, age_s=30 * DAY_S)


class JournalSettings(_Section, frozen=True):
    """The durable log.

    Attributes:
        lanes: Budgets.
        reserve_bytes: Disk space kept back so that alerts go on when the disk is full.
        expire_every_s: Pause between two rounds of expiry.
        linger_s: How long a group without alerts or HL7 v2 messages waits for company before its
            one sync; larger groups cost less, and every other acknowledgement takes that much
            longer.
    """

    lanes: Lanes = Lanes()
    reserve_bytes: Annotated[int, msgspec.Meta(ge=0)] = 16 * MIB
    expire_every_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    linger_s: Annotated[float, msgspec.Meta(ge=0, le=0.1)] = 0.02


class Consumer(_Section, frozen=True):
    """A consumer's lanes.

    Attributes:
        name: Its `urn:uuid:` name, as in its certificate.
        lanes: Streams it may read.
        mandatory: Streams from which nothing may expire before this consumer committed it.
        record: What it may read of the record: `none`, `devices`, or `patients` too.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
    lanes: Annotated[tuple[Lane, ...], msgspec.Meta(min_length=1)]
    mandatory: tuple[Lane, ...] = ()
    record: Literal["none", "devices", "patients"] = "none"


class ExchangeSettings(_Section, frozen=True):
    """The lanes.

    Attributes:
        rate_factor: Multiplies every rate of `docs/reference/lanes.md`.
    """

    rate_factor: Annotated[float, msgspec.Meta(gt=0, le=1_000)] = 1.0


class SignerSettings(_Section, frozen=True):
    """The key-holding process.

    Attributes:
        start: Whether the hub starts it; false if systemd does.
        secret_file: Secret that opens the sealed keys; empty for the one beside them.
        operator_uids: Users who may list devices, besides root and the signer's own.
    """

    start: bool = True
    secret_file: str = ""
    operator_uids: tuple[int, ...] = ()


class RecordSettings(_Section, frozen=True):
    """How long the record is kept, by the time of measurement; a day goes as a whole.

    Attributes:
        numerics_s: Measured numbers.
        alarms_s: Alarm events.
        waveforms_s: Waveforms.
    """

    numerics_s: Annotated[int, msgspec.Meta(ge=HOUR_S, le=3_660 * DAY_S)] = 30 * DAY_S
    alarms_s: Annotated[int, msgspec.Meta(ge=HOUR_S, le=3_660 * DAY_S)] = 365 * DAY_S
    waveforms_s: Annotated[int, msgspec.Meta(ge=HOUR_S, le=3_660 * DAY_S)] = 3 * DAY_S


class ConsoleSettings(_Section, frozen=True):
    """The console and its sessions.

    Attributes:
        facility: Name of the place, in the head of each page.
        idle_s: A session that nobody used for this long ends.
        age_s: A session ends after this, however much it is used.
        display_s: The same of a wall display, which has no idle end and may only look.
    """

    facility: Annotated[str, msgspec.Meta(min_length=1, max_length=60)] = "Asepsis"
    idle_s: Annotated[int, msgspec.Meta(ge=60, le=DAY_S)] = 900
    age_s: Annotated[int, msgspec.Meta(ge=300, le=7 * DAY_S)] = DAY_S // 2
    display_s: Annotated[int, msgspec.Meta(ge=300, le=90 * DAY_S)] = 30 * DAY_S


class AssociationSettings(_Section, frozen=True):
    """Which device is used for which patient.

    Attributes:
        authorities: Assigning authorities (CX.4) whose patient identifiers the hub goes by, in
            order of preference; empty takes the first identifier of PID-3.
        entered_at_device: Wards (PV1-3.1) whose staff enters or scans the patient's identifier at
            the device: what it says (PID-3) confirms a proposal that agrees.
    """

    authorities: Annotated[
        tuple[Annotated[str, msgspec.Meta(max_length=64)], ...], msgspec.Meta(max_length=16)
    ] = ()
    entered_at_device: Annotated[
        tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=60)], ...],
        msgspec.Meta(max_length=1_000),
    ] = ()


class ImageSettings(_Section, frozen=True):
    """Images.

    Attributes:
        bytes_max: What the hub holds of them at most, quarantine included; at it senders get 503.
        reserve_bytes: Disk space that images leave to everything else.
        readers: `urn:uuid:` names of gateways and consumers that may search and retrieve images.
        keep_s: How long an image is held that its archives accepted.
        keep_full_s: The same once four fifths of `bytes_max` are held.
        quarantine_s: How long an object that was refused is held apart.
        purge_every_s: Pause between two looks at what may go.
        private_tags: `keep`, or `quarantine` for objects with private elements.
        private_tags_of: Name of a device -> the same for what it sends.
    """

    bytes_max: Annotated[int, msgspec.Meta(ge=MIB)] = 200 * GIB
    reserve_bytes: Annotated[int, msgspec.Meta(ge=0)] = GIB
    readers: Annotated[
        tuple[Annotated[str, msgspec.Meta(max_length=120)], ...], msgspec.Meta(max_length=256)
    ] = ()
    keep_s: Annotated[int, msgspec.Meta(ge=0, le=366 * DAY_S)] = 7 * DAY_S
    keep_full_s: Annotated[int, msgspec.Meta(ge=0, le=366 * DAY_S)] = HOUR_S
    quarantine_s: Annotated[int, msgspec.Meta(ge=HOUR_S, le=366 * DAY_S)] = 30 * DAY_S
    purge_every_s: Annotated[float, msgspec.Meta(gt=0, le=DAY_S)] = 30.0
    private_tags: Literal["keep", "quarantine"] = "keep"
    private_tags_of: Annotated[
        dict[Annotated[str, msgspec.Meta(max_length=120)], Literal["keep", "quarantine"]],
        msgspec.Meta(max_length=4_096),
    ] = {}


class DeliverySettings(_Section, frozen=True):
    """What leaves the hub.

    Attributes:
        routes: File of routes (docs/reference/routes.md), relative to the data folder; empty for
            none.
        own_networks: Networks of the hub's own servers, to which no destination may lead.
    """

    routes: Annotated[str, msgspec.Meta(max_length=500)] = ""
    own_networks: Annotated[
        tuple[Annotated[str, msgspec.Meta(max_length=64)], ...], msgspec.Meta(max_length=256)
    ] = ()


class LogSettings(_Section, frozen=True):
    """Logs: JSON lines on standard error, without patient data."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class DdiSettings(_Section, frozen=True):
    """Devices with SWUpdate, RAUC or another client of the DDI interface.

    Attributes:
        tenant: First segment of every path, in any case of letters.
        target_tokens: Whether a target's own token counts.
        gateway_tokens: Whether gateways' tokens, which speak for every target, count.
        client_ca_file: PEM with the CAs whose certificates name targets, relative to the data
            folder; empty for none.
        require_certificate: Whether TLS refuses whoever shows none.
        sleep_s: Pause between two polls of a target.
        least_s: Shortest pause, just before a window.
        spread: Share of the pause by which targets differ.
        file_bytes_max: Longest file.
        reserve_bytes: Disk space that files leave to everything else.
    """

    tenant: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_-]{1,64}$")] = "DEFAULT"
    target_tokens: bool = True
    gateway_tokens: bool = False
    client_ca_file: Annotated[str, msgspec.Meta(max_length=500)] = ""
    require_certificate: bool = False
    sleep_s: Annotated[int, msgspec.Meta(ge=1, le=86_399)] = 300
    least_s: Annotated[int, msgspec.Meta(ge=1, le=86_399)] = 30
    spread: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.1
    file_bytes_max: Annotated[int, msgspec.Meta(ge=1, le=16 * GIB)] = 4 * GIB
    reserve_bytes: Annotated[int, msgspec.Meta(ge=0)] = GIB


class AuditRepositorySettings(_Section, frozen=True):
    """An audit repository: DICOM audit messages by syslog over TLS.

    Attributes:
        name: Of its cursor; another name gets the whole log again.
        host: Name or address; its certificate must name it.
        port: TCP port.
        ca_file: PEM with its CA.
        chain_file: PEM of our certificate where it asks for one.
        key_file: Its key.
    """

    name: Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,31}$")]
    host: Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
    ca_file: Annotated[str, msgspec.Meta(min_length=1)]
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 6_514
    chain_file: str = ""
    key_file: str = ""


class AuditSettings(_Section, frozen=True):
    """Where the audit log goes besides.

    Attributes:
        repositories: Audit repositories.
    """

    repositories: Annotated[tuple[AuditRepositorySettings, ...], msgspec.Meta(max_length=8)] = ()


class DeviceSettings(_Section, frozen=True):
    """What the hub does for devices besides taking what they send.

    Attributes:
        carry_requests: Whether requests that an operator signed are carried to devices.
        renew: Whose certificates are renewed: those of all devices, or not of a device whose
            newest attestation was refused.
    """

    carry_requests: bool = False
    renew: Literal["all", "unless-refused"] = "all"


class Settings(_Section, frozen=True):
    """Everything.

    Attributes:
        data: Data folder; relative to the file's folder.
        names: DNS names and addresses of the hub, as fixed at `asepsis hub init`.
        state_url: `sqlite:///<file>` or `postgresql+psycopg://...`; empty for a file in `data`.
        listeners: Where it listens.
        sealing: Where the top key comes from.
        journal: The durable log.
        exchange: The lanes.
        consumers: Who reads durable lanes.
        signer: The key-holding process.
        records: How long the record is kept.
        console: Pages and sessions.
        associations: Which device is used for which patient.
        images: Images.
        ddi: Devices with SWUpdate or RAUC.
        devices: What the hub does for devices.
        audit: Where the audit log goes besides.
        log: Logs.
        drain_s: Seconds that running requests get at the end.
    """

    data: str = "."
    names: tuple[str, ...] = ("localhost", "127.0.0.1")
    state_url: str = ""
    listeners: Listeners = Listeners()
    sealing: Sealing = Sealing()
    journal: JournalSettings = JournalSettings()
    exchange: ExchangeSettings = ExchangeSettings()
    consumers: tuple[Consumer, ...] = ()
    signer: SignerSettings = SignerSettings()
    records: RecordSettings = RecordSettings()
    console: ConsoleSettings = ConsoleSettings()
    associations: AssociationSettings = AssociationSettings()
    delivery: DeliverySettings = DeliverySettings()
    images: ImageSettings = ImageSettings()
    ddi: DdiSettings = DdiSettings()
    devices: DeviceSettings = DeviceSettings()
    audit: AuditSettings = AuditSettings()
    log: LogSettings = LogSettings()
    drain_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 5.0

    def folder(self) -> Path:
        """Return the data folder."""
        return Path(self.data)

    def state(self) -> str:
        """Return the URL of the state database."""
        return self.state_url or f"sqlite:///{self.folder() / 'hub' / 'state.db'}"


def read_settings(file: Path) -> Settings:
    """Read the configuration file.

    Args:
        file: `hub.toml`; a relative data folder is taken from the folder it stands in.

    Raises:
        ConfigError: Absent, too long, no TOML, an unknown key or a value out of range; names the
            file and the path of the key.
    """
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}", hint="run `asepsis hub init`") from error
    if len(raw) > FILE_BYTES_MAX:
        raise ConfigError(f"{file}: longer than {FILE_BYTES_MAX} bytes")
    try:
        settings = msgspec.convert(tomllib.loads(raw.decode()), Settings, str_keys=True)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{file}: {error}", hint="see docs/reference/settings.md") from error
    return msgspec.structs.replace(settings, data=str((file.parent / settings.data).resolve()))


def lane_budgets(lanes: Lanes) -> dict[Lane, LaneBudget]:
    """Return the budgets as the journal takes them."""
    given: dict[Lane, Budget] = {
        Lane.ALERT: lanes.alert,
        Lane.VITALS: lanes.vitals,
        Lane.WAVEFORM: lanes.waveform,
        Lane.LATE: lanes.late,
        Lane.MESSAGE: lanes.message,
        Lane.IMAGE_INDEX: lanes.image_index,
        Lane.EVENT: lanes.event,
    }
    return {
        lane: LaneBudget(
            bytes_max=budget.bytes_max,
            age_s=budget.age_s,
            record_bytes_max=GROUP_BYTES_MAX if lane is Lane.MESSAGE else MIB,
        )
        for lane, budget in given.items()
    }


def session_limits(settings: Settings) -> SessionLimits:
    """Return how long sessions last, as access takes it."""
    given = settings.console
    return SessionLimits(idle_s=given.idle_s, age_s=given.age_s, display_s=given.display_s)
