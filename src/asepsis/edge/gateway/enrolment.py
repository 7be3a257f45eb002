"""Enrolment of a gateway: as a device's, but under the EST label of gateways and without origin."""

from typing import Final

from asepsis.core.trust import tls
from asepsis.edge.uplink import est
from asepsis.edge.uplink.connection import HubConnection
from asepsis.edge.uplink.enrolment import probe_root
from asepsis.edge.uplink.folder import Hospital, IdentityFolder
from asepsis.edge.uplink.token import EnrolmentToken

LABEL: Final = "gateway"


def enrol(folder: IdentityFolder, name: str, *, hospital: Hospital, token: EnrolmentToken) -> None:
    """Enrol the gateway; safe to repeat after any failure, until the token is used up.

    Args:
        folder: Made if absent; keys and certificates go there.
        name: The gateway's `urn:uuid:` name, as it is listed at the hub.
        hospital: Addresses of the hub.
        token: One-time token.

    Raises:
        TrustError: Wrong hub, or the hub refuses.
        TransientError: No contact; repeat.
        InputError: The hub's answer is malformed.

    Source: RFC 7030 sections 3.2.2 (labels) and 4.2; REQ-ID-006 to REQ-ID-008.
    """
    folder.create()
    root_der = probe_root(hospital.enrolment, pin=token.pin)
    context = tls.client_context_without_time_check(root_der=root_der)
    # No trusted time yet: validity is judged from the first signed time on.
    hub = HubConnection(hospital.enrolment, context, now_ns=None)
    try:
        request = folder.key("tls").csr_der(common_name="asepsis", uri=name)
        folder.store_chain("tls", est.enrol(hub, request, token=token, label=LABEL))
    finally:
        hub.close()
    folder.finish(name, hospital, root_der)
