"""What a threat model may say: one flat table per kind of thing, each thing with its id.

Every field is a fact that rules can read (`facts.py`); the JSON schema is made from this file
(`asepsis threats schema`). Ids are words; what names another thing is checked (`REFERENCES`).

Source: IEC 81001-5-1, 7.2; ISO 14971:2019 (severity, 7.5 risks from risk control); IEC 80001-1.
"""

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct

TEXT_CHARACTERS_MAX: Final = 2_000
Text: TypeAlias = Annotated[str, Meta(max_length=TEXT_CHARACTERS_MAX)]
Id: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
Money: TypeAlias = Annotated[
    str,
    Meta(pattern=r"^[0-9]{1,12}(\.[0-9]{1,2})? [A-Z]{3}$", description='Such as "1200 EUR".'),
]
Chance: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Amount: TypeAlias = Annotated[float, Meta(ge=0, le=1e9)]
Ids: TypeAlias = tuple[Id, ...]
Address: TypeAlias = Annotated[
    str,
    Meta(pattern=r"^[0-9A-Fa-f.:]{2,45}(/[0-9]{1,3})?$", description="IPv4, IPv6 or a network."),
]
Port: TypeAlias = Annotated[
    str, Meta(pattern=r"^(tcp|udp)/[1-9][0-9]{0,4}$", description='Such as "tcp/2575".')
]
Authentication: TypeAlias = Literal["none", "shared", "default", "password", "mutual"]
Party: TypeAlias = Literal["hospital", "vendor"]
Severity: TypeAlias = Literal["negligible", "minor", "serious", "critical", "catastrophic"]
Harm: TypeAlias = Literal[
    "alarm-loss",
    "monitoring-loss",
    "setting-change",
    "wrong-values",
    "wrong-patient",
    "multi-patient",
    "image-tampering",
    "outage",
    "data-theft",
]


class _Thing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    text: Text = ""
    evidence: tuple[Text, ...] = ()


class Zone(_Thing, frozen=True, kw_only=True):
    """A part of a network in which everything can talk to everything."""

    reaches: Ids = ()
    wireless: bool = False
    monitored: bool = False
    networks: tuple[Address, ...] = ()


class Place(_Thing, frozen=True, kw_only=True):
    """Where people can be."""

    open: bool = False


class Role(_Thing, frozen=True, kw_only=True):
    """People who do a job."""

    enters: Ids = ()
    uses: Ids = ()
    maintains: Ids = ()
    mail: bool = False


class Device(_Thing, frozen=True, kw_only=True):
    """A device, or a number of equal ones, or any computer beside them.

    `models` are names of models as a hub lists them; `addresses` are what filters know it by.
    """

    models: tuple[Text, ...] = ()
    addresses: tuple[Address, ...] = ()
    zones: Ids = ()
    place: Id | None = None
    count: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    kind: Literal[
        "monitor", "pump", "modality", "central", "gateway", "server", "workstation", "notebook"
    ] = "monitor"
    system: Literal["supported", "unsupported", "unknown"] = "unknown"
    compartments: Ids = ()
    critical: Id | None = None
    controls: Ids = ()
    trusts: Ids = ()
    assets: Ids = ()
    ports: tuple[Literal["usb", "serial", "keyboard", "console"], ...] = ()
    autorun: bool = False
    allowlist: bool = False
    encrypted: bool = False
    bootable: bool = False
    local_login: Authentication = "password"
    roams: bool = False


class Service(_Thing, frozen=True, kw_only=True):
    """What listens on a device."""

    device: Id
    protocol: Literal[
        "ssh", "telnet", "ftp", "smb", "rdp", "vnc", "http", "https", "hl7", "dicom", "sdc",
        "vendor", "database", "stack", "keyboard", "bluetooth",
    ]  # fmt: skip
    auth: Authentication = "password"
    clear: bool = False
    compartment: Id | None = None
    grants: tuple[
        Literal["shell", "files", "settings", "screen", "update", "values", "alarms", "records"],
        ...,
    ] = ()
    flaws: tuple[Literal["code", "bypass", "crash", "disclosure"], ...] = ()
    exploited: bool = False
    wormable: bool = False
    credential: Id | None = None


class Flow(_Thing, frozen=True, kw_only=True):
    """Data that goes from one device to another over zones."""

    source: Id
    target: Id
    zones: Ids = ()
    protocol: Literal["hl7", "dicom", "sdc", "http", "https", "smb", "vendor", "adp"] = "vendor"
    auth: Authentication = "none"
    clear: bool = False
    signed: bool = False
    target_ports: tuple[Port, ...] = ()
    carries: tuple[
        Literal["values", "alarms", "orders", "demographics", "images", "settings", "records"], ...
    ] = ()


class Update(_Thing, frozen=True, kw_only=True):
    """How new software or a new drug library reaches devices."""

    devices: Ids
    by: Literal["server", "medium", "remote", "notebook"]
    signed: bool = False
    rollback: bool = False
    content: Literal["software", "library"] = "software"
    server: Id | None = None
    medium: Id | None = None
    remote: Id | None = None
    supplier: bool = False


class Medium(_Thing, frozen=True, kw_only=True):
    """Something that is carried and plugged in."""

    plugged: Ids = ()
    used_by: Ids = ()
    scanned: bool = False
    dedicated: bool = False


class Remote(_Thing, frozen=True, kw_only=True):
    """A vendor's way in for service."""

    devices: Ids
    zone: Id
    auth: Authentication = "password"
    standing: bool = True
    credential: Id | None = None


class Credential(_Thing, frozen=True, kw_only=True):
    """A key or password."""

    opens: Ids = ()
    stored: Ids = ()
    published: bool = False
    across: Literal["device", "site", "model"] = "device"


class Function(_Thing, frozen=True, kw_only=True):
    """Something clinical that devices do for patients."""

    devices: Ids
    patients: Annotated[int, Meta(ge=0, le=1_000_000)] = 1
    alarms: bool = False
    therapy: bool = False


class Asset(_Thing, frozen=True, kw_only=True):
    """Something worth money, or records of people."""

    value: Money | None = None
    records: bool = False


class Attacker(_Thing, frozen=True, kw_only=True):
    """Somebody, how often a year he tries, and where he begins."""

    per_year: Chance
    zones: Ids = ()
    places: Ids = ()
    roles: Ids = ()
    media: Ids = ()
    devices: Ids = ()
    suppliers: bool = False
    mails: bool = False


class Loss(_Thing, frozen=True, kw_only=True):
    """What must not happen, and what it costs a year if it surely happens."""

    harm: Harm
    function: Id | None = None
    asset: Id | None = None
    severity: Severity = "serious"
    money: Money | None = None
    hours: Amount = 0.0
    patients: Amount = 0.0
    accept: Annotated[float, Meta(gt=0, le=1)] | None = None
    accepted_by: Text = ""
    accepted_on: Annotated[str, Meta(pattern=r"^([0-9]{4}-[0-9]{2}-[0-9]{2})?$")] = ""


class Effect(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a countermeasure does to steps (or, with `loss`, to the damage)."""

    steps: tuple[Annotated[str, Meta(pattern=r"^[A-Za-z0-9*_-]{1,64}$")], ...] = ()
    on: Ids = ()
    loss: Id | None = None
    factors: tuple[Chance, ...]


class Does(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a level is made of, for `asepsis threats compile`; it changes no risk.

    `filter` names zones that stand behind a filter with a list of flows, `apart` devices that get a
    network of their own behind it, `campaign` devices whose software is replaced, `gateway` flows
    that go over a gateway.
    """

    filter: Ids = ()
    apart: Ids = ()
    campaign: Ids = ()
    gateway: Ids = ()


class LevelOf(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to implement a countermeasure; what it takes, and the harm it adds itself."""

    text: Text = ""
    once: Money | None = None
    yearly: Money | None = None
    downtime_h: Amount = 0.0
    effort_h: Amount = 0.0
    harm_money: Money | None = None
    harm_hours: Amount = 0.0
    harm_patients: Amount = 0.0
    harm_why: Text = ""
    does: Does = Does()


class Countermeasure(_Thing, frozen=True, kw_only=True):
    """Something that can be done; `tests` names what shows that it works."""

    pays: Party
    decides: Party = "hospital"
    levels: tuple[LevelOf, ...]
    effects: tuple[Effect, ...]
    conflicts: Ids = ()
    needs: Ids = ()
    never: bool = False
    tests: tuple[Text, ...] = ()


class Budget(_Thing, frozen=True, kw_only=True):
    """What a party can spend a year; what is not named is not limited."""

    money: Money | None = None
    downtime_h: Amount | None = None
    effort_h: Amount | None = None


class Estimate(_Thing, frozen=True, kw_only=True):
    """A person's probability for a rule, instead of the one that comes with it."""

    probability: Chance
    reason: Annotated[str, Meta(min_length=3, max_length=TEXT_CHARACTERS_MAX)]


SECTIONS: Final[dict[str, type[_Thing]]] = {
    "zones": Zone,
    "places": Place,
    "roles": Role,
    "devices": Device,
    "services": Service,
    "flows": Flow,
    "updates": Update,
    "media": Medium,
    "remotes": Remote,
    "credentials": Credential,
    "functions": Function,
    "assets": Asset,
    "attackers": Attacker,
    "losses": Loss,
    "countermeasures": Countermeasure,
    "budgets": Budget,
    "estimates": Estimate,
}
FACT_SECTIONS: Final = tuple(SECTIONS)[:14]
"""Those that say how things are; the rest says what can be done about it."""

REFERENCES: Final[dict[tuple[str, str], str]] = {
    ("zones", "reaches"): "zones",
    ("roles", "enters"): "places",
    ("roles", "uses"): "devices",
    ("roles", "maintains"): "devices",
    ("devices", "zones"): "zones",
    ("devices", "place"): "places",
    ("devices", "controls"): "devices",
    ("devices", "trusts"): "devices",
    ("devices", "assets"): "assets",
    ("services", "device"): "devices",
    ("services", "credential"): "credentials",
    ("flows", "source"): "devices",
    ("flows", "target"): "devices",
    ("flows", "zones"): "zones",
    ("updates", "devices"): "devices",
    ("updates", "server"): "devices",
    ("updates", "medium"): "media",
    ("updates", "remote"): "remotes",
    ("media", "plugged"): "devices",
    ("media", "used_by"): "roles",
    ("remotes", "devices"): "devices",
    ("remotes", "zone"): "zones",
    ("remotes", "credential"): "credentials",
    ("credentials", "opens"): "devices",
    ("credentials", "stored"): "devices",
    ("functions", "devices"): "devices",
    ("attackers", "zones"): "zones",
    ("attackers", "places"): "places",
    ("attackers", "roles"): "roles",
    ("attackers", "media"): "media",
    ("attackers", "devices"): "devices",
    ("losses", "function"): "functions",
    ("losses", "asset"): "assets",
    ("countermeasures", "conflicts"): "countermeasures",
    ("countermeasures", "needs"): "countermeasures",
}

DOES: Final[dict[str, str]] = {
    "filter": "zones",
    "apart": "devices",
    "campaign": "devices",
    "gateway": "flows",
}
"""Field of `Does` -> what it names."""


class Model(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole model."""

    asepsis: Literal["threats/1"]
    name: Text
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$")]
    text: Text = ""
    years: Annotated[int, Meta(ge=1, le=30, description="Over which one-off costs are spread.")] = 5
    rules: tuple[Text, ...] = ()
    derived: tuple[Text, ...] = ()
    zones: dict[Id, Zone] = {}
    places: dict[Id, Place] = {}
    roles: dict[Id, Role] = {}
    devices: dict[Id, Device] = {}
    services: dict[Id, Service] = {}
    flows: dict[Id, Flow] = {}
    updates: dict[Id, Update] = {}
    media: dict[Id, Medium] = {}
    remotes: dict[Id, Remote] = {}
    credentials: dict[Id, Credential] = {}
    functions: dict[Id, Function] = {}
    assets: dict[Id, Asset] = {}
    attackers: dict[Id, Attacker] = {}
    losses: dict[Id, Loss] = {}
    countermeasures: dict[Id, Countermeasure] = {}
    budgets: dict[Party, Budget] = {}
    estimates: dict[str, Estimate] = {}
