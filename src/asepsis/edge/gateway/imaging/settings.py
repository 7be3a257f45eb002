"""The section `[imaging]` of the gateway's configuration file; docs/reference/imaging-gateway.md.

`policy.py` turns it into what an association is asked; nothing here opens a file.
"""

from typing import Annotated, Final, Literal

import msgspec

MIB: Final = 1 << 20
GIB: Final = 1_024 * MIB

Name = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,31}$")]
NoName = Annotated[str, msgspec.Meta(pattern="^([a-z0-9][a-z0-9-]{0,31})?$")]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Network = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
AeTitle = Annotated[str, msgspec.Meta(pattern=r"^[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?$")]
_COMMITS: Final = frozenset({"commitment", "1.2.840.10008.1.20.1"})
"""How the storage commitment push model is named among SOP classes."""
_SOP_CLASS: Final = r"^([0-9]+(\.[0-9]+)*|storage|query|retrieve|worklist|mpps|commitment)$"
Uid = Annotated[str, msgspec.Meta(pattern=_SOP_CLASS, max_length=64)]
PlainUid = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=64)]
Worklist = Annotated[str, msgspec.Meta(pattern=r"^(urn:uuid:[0-9a-f-]{36}(#[a-z0-9-]{1,32})?)?$")]
Fingerprint = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
IdentityForm = Literal["passcode", "kerberos", "saml", "jwt"]
Role = Literal["store", "query", "worklist"]
"""What a user may do through this gateway: store instances, find and fetch them, read worklists."""


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every section: frozen, named fields, nothing unknown."""


class ImagingTls(_Section, frozen=True):
    """TLS of one listener by the BCP 195 profiles; peers always prove themselves.

    Attributes:
        chain_file: PEM, leaf first.
        key_file: PEM.
        client_ca_file: PEM with the CA of the peers' certificates.
    """

    chain_file: Text
    key_file: Text
    client_ca_file: Text


class ImagingListener(_Section, frozen=True):
    """One DICOM port.

    Attributes:
        name: For people and for peers to refer to.
        host: Address to listen on; without TLS it lies in `device_segments`.
        port: 0 lets the kernel choose; `run/imaging.json` says which. 2762 is that of DICOM on TLS.
        ae_titles: What it is called by.
        tls: None means clear text.
        associations_max: Associations of all peers together.
        pdu_bytes_max: Longest P-DATA-TF body that is announced to peers, bytes.
        vlan: VLAN of the segment behind it, as evidence for the hub; 0 says nothing.
    """

    name: Name
    host: Text
    ae_titles: Annotated[tuple[AeTitle, ...], msgspec.Meta(min_length=1, max_length=64)]
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 11_112
    tls: ImagingTls | None = None
    associations_max: Annotated[int, msgspec.Meta(ge=1, le=1_024)] = 64
    pdu_bytes_max: Annotated[int, msgspec.Meta(ge=4_096, le=MIB)] = 262_144
    vlan: Annotated[int, msgspec.Meta(ge=0, le=4_094)] = 0


class ImagingPeer(_Section, frozen=True):
    """One modality and what it may do.

    Attributes:
        name: For people, findings and the spool.
        listener: Name of the listener it comes to.
        addresses: Its addresses or networks.
        ae_titles: What it may call itself; address and title together name one peer of a listener.
        device: Its name at the hub, which holds the gateway's declared list.
        sop_classes: SOP classes it may store or ask for; `storage` takes every storage class of the
            standard, `query`, `retrieve`, `worklist` and `mpps` those services.
        archive: Destination at the hub whose PACS answers its queries and retrievals.
        worklist: Gateway that is named as a source of worklists, `#`, and its entry.
        steps: The same for performed procedure steps; by default `worklist`.
        move_to: Titles of declared destinations that it may name in a C-MOVE.
        matches_max: Most matches of one query.
        called: What it may call us; empty takes every title of the listener.
        certificate_sha256: Fingerprints of its certificate.
        certificate_names: Or names of it: DNS, address or URI of subjectAltName.
        user_identity: Proofs of a user of which it must bring one; empty asks for none, and the
            peer is bound by this entry.
        ack: `hub`: success once durable at the hub, or in the spool while the hub is away;
            `spool`: as soon as it is durable here.
        cleartext: Must be true where the listener has no TLS.
        instance_bytes_max: Largest data set, bytes.
        rate_per_s: Instances a second that are taken for long; more are read later.
        burst: Instances that may come at once after a pause.
        associations_max: Associations at once.
        idle_s: Longest silence between two messages, seconds.
        pdu_s: Longest time for one PDU, and between two of one message, seconds.
        message_s: Longest time for one instance, seconds.
    """

    name: Name
    listener: Name
    addresses: Annotated[tuple[Network, ...], msgspec.Meta(min_length=1, max_length=256)]
    ae_titles: Annotated[tuple[AeTitle, ...], msgspec.Meta(min_length=1, max_length=64)]
    device: Text
    sop_classes: Annotated[tuple[Uid, ...], msgspec.Meta(min_length=1, max_length=1_024)]
    archive: NoName = ""
    worklist: Worklist = ""
    steps: Worklist = ""
    move_to: Annotated[tuple[AeTitle, ...], msgspec.Meta(max_length=16)] = ()
    matches_max: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1_000
    called: Annotated[tuple[AeTitle, ...], msgspec.Meta(max_length=64)] = ()
    certificate_sha256: Annotated[tuple[Fingerprint, ...], msgspec.Meta(max_length=64)] = ()
    certificate_names: Annotated[tuple[Text, ...], msgspec.Meta(max_length=64)] = ()
    user_identity: Annotated[tuple[IdentityForm, ...], msgspec.Meta(max_length=4)] = ()
    ack: Literal["hub", "spool"] = "hub"
    cleartext: bool = False
    instance_bytes_max: Annotated[int, msgspec.Meta(ge=1_024, le=1_024 * GIB)] = 4 * GIB
    rate_per_s: Annotated[float, msgspec.Meta(gt=0, le=100_000)] = 1_000.0
    burst: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 2_000
    associations_max: Annotated[int, msgspec.Meta(ge=1, le=256)] = 8
    idle_s: Seconds = 600.0
    pdu_s: Seconds = 10.0
    message_s: Seconds = 3_600.0


class MoveEntry(_Section, frozen=True):
    """One `[[imaging.destinations]]`: where images of a C-MOVE may go, on a device segment.

    Attributes:
        title: Its AE title, which a C-MOVE names.
        host: Its address.
        port: Its DICOM port.
        calling: Ours.
        sop_classes: What it is offered; empty for the classes in common use.
        transfer_syntaxes: In which; classes times syntaxes are at most 127.
        cleartext: Must be true without `ca_file`; the address then lies in `device_segments`.
        ca_file: PEM with the CA of its certificate; with it TLS is spoken.
        server_name: Name in that certificate, by default the host.
        chain_file: PEM of our own certificate for it, leaf first; empty for none.
        key_file: PEM of its key.
        answer_s: Longest wait for an answer, seconds.
    """

    title: AeTitle
    host: Text
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 11_112
    calling: AeTitle = "ASEPSIS"
    sop_classes: Annotated[tuple[PlainUid, ...], msgspec.Meta(max_length=127)] = ()
    transfer_syntaxes: Annotated[tuple[PlainUid, ...], msgspec.Meta(min_length=1, max_length=8)] = (
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.4.70",
    )
    cleartext: bool = False
    ca_file: str = ""
    server_name: str = ""
    chain_file: str = ""
    key_file: str = ""
    answer_s: Seconds = 60.0


class ArchiveEntry(_Section, frozen=True):
    """One `[[archives]]`: a PACS or worklist on the gateway's own segment.

    Attributes:
        destination: Its name at the hub, where an administrator entered this gateway for it; empty
            where no images are brought to it.
        queries: Whether it answers queries and retrievals of modalities behind other gateways.
        retrieves: How images come back from it: on our association (C-GET), or on one of its own to
            `reports_host` (C-MOVE), where it knows us by the title `calling`.
        commits: Whether it is asked to commit what modalities behind other gateways stored.
        reports_host: Our address at which it reports what it committed, and stores what is
            retrieved by C-MOVE; on a device segment without `ca_file`.
        reports_port: Our port there; 0 if it never calls us.
        worklist: Its name as a worklist, of which this gateway is a named source; empty for none.
        matches_max: Most matches of one query.
        host: Address of the PACS.
        port: Its DICOM port.
        called: Its AE title.
        calling: Ours.
        cleartext: Must be true without `ca_file`; the address then lies in `device_segments`.
        ca_file: PEM with the CA of its certificate; with it TLS is spoken.
        server_name: Name in that certificate, by default the host.
        chain_file: PEM of our own certificate for it, leaf first; empty for none.
        key_file: PEM of its key.
        associations: Associations at once; each keeps a connection to the hub.
        answer_s: Longest wait for an answer, seconds.
        tries: How often an instance is offered that the PACS fails at, before it counts as refused.
        deidentify: Whether what is brought to it is brought without the patient.
        uid_secret_file: At least 32 random bytes, from which replaced UIDs are made: the same bytes
            keep the objects of a study together.
    """

    host: Text
    called: AeTitle
    destination: NoName = ""
    queries: bool = False
    retrieves: Literal["get", "move"] = "get"
    commits: bool = False
    reports_host: str = ""
    reports_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    worklist: NoName = ""
    matches_max: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 5_000
    calling: AeTitle = "ASEPSIS"
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 11_112
    cleartext: bool = False
    ca_file: str = ""
    server_name: str = ""
    chain_file: str = ""
    key_file: str = ""
    associations: Annotated[int, msgspec.Meta(ge=1, le=4)] = 2
    answer_s: Seconds = 60.0
    tries: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    deidentify: bool = False
    uid_secret_file: str = ""


class RoleRow(_Section, frozen=True):
    """One row of the table that turns a proven user into roles.

    Attributes:
        form: How the user was proven.
        roles: What they may do.
        user: Whole user name, Kerberos principal or subject; `*@REALM` takes a whole realm, and
            empty takes everybody whom `claim` fits.
        claim: Value of the role claim (JWT) or role attribute (SAML) that must be there.
    """

    form: IdentityForm
    roles: Annotated[tuple[Role, ...], msgspec.Meta(min_length=1, max_length=8)]
    user: str = ""
    claim: str = ""


class KerberosSettings(_Section, frozen=True):
    """Kerberos tickets.

    Attributes:
        keytab_file: Keys of our own service principal; readable by its owner only.
        service: Our principal, such as `dicom/gateway.hospital.example@HOSPITAL.EXAMPLE`.
    """

    keytab_file: Text
    service: Text


class SamlSettings(_Section, frozen=True):
    """SAML 2.0 assertions.

    Attributes:
        issuer: Whose assertions are taken.
        certificate_file: PEM with the issuer's one signing certificate, pinned.
        audience: What AudienceRestriction must name.
        role_attribute: Name of the attribute whose values the table's `claim` is compared with.
    """

    issuer: Text
    certificate_file: Text
    audience: Text
    role_attribute: str = ""


class JwtSettings(_Section, frozen=True):
    """JSON Web Tokens.

    Attributes:
        issuer: What `iss` must say.
        key_file: PEM with the issuer's public key, pinned.
        algorithm: The one algorithm taken.
        audience: What `aud` must name.
        role_claim: Name of the claim whose values the table's `claim` is compared with.
    """

    issuer: Text
    key_file: Text
    audience: Text
    algorithm: Literal["ES256", "ES384", "PS256", "PS384", "EdDSA", "RS256"] = "ES256"
    role_claim: str = ""


class IdentitySettings(_Section, frozen=True):
    """How users of modalities prove themselves (DICOM PS3.7 D.3.3.7).

    Attributes:
        table: Roles by user; who is in no row has none.
        passcode_file: Lines `user:salt:hash` as `asepsis gateway passcode` writes them.
        kerberos: Kerberos tickets.
        saml: SAML assertions.
        jwt: JSON Web Tokens.
        clock_skew_s: Difference of clocks that is forgiven, seconds.
    """

    table: Annotated[tuple[RoleRow, ...], msgspec.Meta(max_length=1_024)] = ()
    passcode_file: str = ""
    kerberos: KerberosSettings | None = None
    saml: SamlSettings | None = None
    jwt: JwtSettings | None = None
    clock_skew_s: Annotated[float, msgspec.Meta(ge=0, le=300)] = 30.0


class ImagingSettings(_Section, frozen=True):
    """The DICOM family of a gateway.

    Attributes:
        listeners: DICOM ports.
        peers: Modalities; whoever is not listed is not served.
        spool_bytes_max: What may wait for the hub; at it senders get 0xA700.
        connections: Connections to the hub, which keeps eight of one identity, those of the other
            families included.
        wait_s: How long a modality waits for the hub, beside the time for the transfer itself,
            before the spool's durability is acknowledged instead; only where `ack = "hub"`.
        answer_s: Longest wait for an answer of the hub, seconds.
        identity: How users of modalities prove themselves.
        destinations: Where images of a C-MOVE may go, and word about commitments.
        questions: Queries, steps and retrievals at once; each keeps a connection to the hub. They
            are only opened if a peer may ask.
    """

    listeners: Annotated[tuple[ImagingListener, ...], msgspec.Meta(min_length=1, max_length=16)]
    peers: Annotated[tuple[ImagingPeer, ...], msgspec.Meta(min_length=1, max_length=1_024)]
    spool_bytes_max: Annotated[int, msgspec.Meta(ge=MIB)] = 64 * GIB
    connections: Annotated[int, msgspec.Meta(ge=1, le=4)] = 2
    wait_s: Seconds = 5.0
    answer_s: Seconds = 60.0
    identity: IdentitySettings = IdentitySettings()
    destinations: Annotated[tuple[MoveEntry, ...], msgspec.Meta(max_length=16)] = ()
    questions: Annotated[int, msgspec.Meta(ge=1, le=4)] = 2

    @property
    def commits(self) -> bool:
        """Whether a modality may ask for a storage commitment."""
        return any(_COMMITS & set(peer.sop_classes) for peer in self.peers)
