"""Enrolment of a device: pin the hospital's root, then prove the token, then keep the chains."""

import socket
from dataclasses import dataclass

from asepsis.core.errors import Unavailable
from asepsis.core.trust import tls
from asepsis.edge.uplink import est
from asepsis.edge.uplink.connection import TIMEOUT_S, Endpoint, HubConnection
from asepsis.edge.uplink.files import write_durably
from asepsis.edge.uplink.folder import Hospital, IdentityFolder
from asepsis.edge.uplink.token import EnrolmentToken


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentOrder:
    """What a person tells whoever enrols.

    Attributes:
        name: The device's, gateway's or consumer's own name.
        hospital: Addresses of the hub.
        token: One-time token.
        origin: Whether it is a device with an origin key of its own to enrol.
    """

    name: str
    hospital: Hospital
    token: EnrolmentToken
    origin: bool


def probe_root(endpoint: Endpoint, *, pin: str) -> bytes:
    """Look at the hub's chain and return the pinned root; no application byte is sent.

    Raises:
        IdentityInvalid: The chain does not hold the pinned root (REQ-ID-008).
        Unavailable: Nobody answers, or no TLS.
    """
    context = tls.chain_probe_context()
    try:
        with (
            socket.create_connection((endpoint.host, endpoint.port), TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=endpoint.host) as probe,
        ):
            chain = tls.unverified_chain(probe)
    except OSError as error:
        raise Unavailable(f"no TLS at {endpoint.host}:{endpoint.port}") from error
    return tls.pinned_root(chain, pin=pin)


def enrol(folder: IdentityFolder, order: EnrolmentOrder) -> None:
    """Enrol the device; safe to repeat after any failure, until the token is used up.

    The same keys are used at every attempt, so a hub that had answered before the power failed
    gives the same certificates again.

    Raises:
        TrustError: Wrong hub, or the hub refuses.
        TransientError: No contact; repeat.
        InputError: The hub's answer is malformed.
    """
    folder.create()
    root_der = probe_root(order.hospital.enrolment, pin=order.token.pin)
    context = tls.client_context_without_time_check(root_der=root_der)
    # No trusted time yet: validity is judged from the first signed time on.
    hub = HubConnection(order.hospital.enrolment, context, now_ns=None)
    try:
        for name, label in (("tls", ""), ("origin", "origin")):
            if label and not order.origin:
                continue
            request = folder.key(name).csr_der(common_name="asepsis", uri=order.name)
            folder.store_chain(name, est.enrol(hub, request, token=order.token, label=label))
            if label:
                write_durably(folder.path / f"{name}.csr", request)
    finally:
        hub.close()
    folder.finish(order.name, order.hospital, root_der)
