"""What a change of the registry writes: state, audit entry and event, in one transaction."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection

from asepsis.core.errors import Conflict, NotFound
from asepsis.core.model.identity import PrincipalKind
from asepsis.core.trust.answers import Issued
from asepsis.core.trust.identity import OriginCertificate, PeerCertificate
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.rules import Act
from asepsis.hub.registry import records
from asepsis.hub.registry.delegations import rows
from asepsis.hub.registry.delegations.lines import Source, SourceKind
from asepsis.hub.registry.rules import (
    DAY_NS,
    DECLARATION_DAYS_DEFAULT,
    Handed,
    check_lift,
    check_origin_binding,
)
from asepsis.hub.store.outbox import Event, publish

ALARM: Final = "alarm.technical"
TOPICS: Final = {"enrol": "device.enrolled", "renew": "device.renewed"}


class Recorder:
    """Writes changes; every method belongs into a transaction of its caller.

    Args:
        audit: Gets an entry for each change.
        clock: Wall clock, nanoseconds since 1970.
    """

    def __init__(self, audit: AuditLog, *, clock: Callable[[], int]) -> None:
        self._audit = audit
        self._clock = clock

    def put(
        self,
        connection: Connection,
        issued: Issued,
        handed: Handed,
        *,
        renewal: bool,
        actor: str,
    ) -> None:
        """Record a certificate that the signer issued; again is no error.

        Raises:
            Conflict: The signer does not say what was listed, or an origin key without its device.
            IdentityRevoked: A revoked name asks for a renewal.
        """
        certificate, name = handed.certificate, handed.name
        if records.is_recorded(connection, certificate.fingerprint):
            return  # Asked again because our answer was lost.
        told = records.revocation_told(connection, name)
        if check_lift(told=told, renewal=renewal):
            records.lift_revocation(connection, name)
        now_ns = self._clock()
        if isinstance(certificate, OriginCertificate):
            _bind_origin(connection, certificate, renewal=renewal)
        else:
            self._put_machine(connection, certificate, issued, renewal=renewal)
        records.put_certificate(connection, certificate, handed.profile, now_ns=now_ns)
        records.void_serials(connection, issued.superseded_serials())
        what = "renew" if renewal else "enrol"
        detail = {"serial": f"{handed.serial:x}", "profile": handed.profile.value}
        self._note(connection, actor, what, name, **detail)
        self._publish(connection, TOPICS[what], name, **detail)

    def revoke(self, connection: Connection, name: str, *, person: str, reason: str) -> None:
        """Record a revocation.

        Raises:
            NotFound: No such machine.
            Conflict: It is revoked already.
        """
        found = records.summaries(connection, name=name)
        if not found:
            raise NotFound("there is no such device")
        if found[0].revoked_at_ns is not None:
            raise Conflict("the identity is revoked already")
        now_ns = self._clock()
        records.put_revocation(connection, name, person=person, reason=reason, now_ns=now_ns)
        self._note(connection, f"person:{person}", "revoke-device", name, reason=reason)
        self._publish(connection, "device.revoked", name, person=person, reason=reason)

    def declare(
        self,
        connection: Connection,
        holder: str,
        names: Sequence[str],
        *,
        person: str,
        days: int,
        terms: rows.Terms,
    ) -> None:
        """Record delegations."""
        now_ns = self._clock()
        rows.put(
            connection,
            holder,
            names,
            person=person,
            now_ns=now_ns,
            expires_at_ns=now_ns + days * DAY_NS,
            terms=terms,
        )
        self._note(
            connection,
            f"person:{person}",
            "declare-source",
            holder,
            devices=list(names),
            days=days,
            evidence=terms.evidence.value,
            partner=terms.partner,
            interface=terms.interface,
            message_types=list(terms.message_types),
            network=msgspec.to_builtins(terms.network),
        )

    def withdraw(
        self, connection: Connection, holder: str, names: Sequence[str], *, person: str
    ) -> None:
        """Record that lines of a declared list are gone.

        Raises:
            NotFound: None of them was declared.
        """
        if not rows.withdraw(connection, holder, names):
            raise NotFound("none of these devices is declared")
        self._note(connection, f"person:{person}", "withdraw-source", holder, devices=list(names))

    def alarm(
        self,
        connection: Connection,
        subject: str,
        *,
        code: str,
        text: str,
        detail: Mapping[str, Any],
    ) -> None:
        """Record a technical alarm."""
        self._publish(connection, ALARM, subject, code=code, text=text, **detail)
        act = Act(actor="hub", action="raise-alarm", subject=subject, detail={"code": code})
        self._audit.record(connection, act)

    def _put_machine(
        self, connection: Connection, peer: PeerCertificate, issued: Issued, *, renewal: bool
    ) -> None:
        if issued.expectation is None:
            raise Conflict("the signer does not say what was listed")
        now_ns = self._clock()
        records.put_device(connection, peer, issued.expectation, now_ns=now_ns)
        if not renewal and peer.kind is PrincipalKind.GATEWAY:
            # A person listed them with the gateway; a renewal does not bring withdrawn ones back.
            rows.put(
                connection,
                peer.uri,
                issued.expectation.declared,
                person="listed with the gateway",
                now_ns=now_ns,
                expires_at_ns=now_ns + DECLARATION_DAYS_DEFAULT * DAY_NS,
            )
            for kind in issued.expectation.sources:
                source = Source(
                    holder=peer.uri,
                    kind=SourceKind(kind),
                    expires_at_ns=now_ns + DECLARATION_DAYS_DEFAULT * DAY_NS,
                    person="listed with the gateway",
                )
                rows.put_source(connection, source, now_ns=now_ns)

    def _note(
        self, connection: Connection, actor: str, action: str, name: str, **detail: object
    ) -> None:
        """Write the audit entry of a change and note it for the other hubs."""
        self._audit.note(connection, actor=actor, action=action, subject=name, **detail)
        records.touch(connection, name)

    def _publish(self, connection: Connection, topic: str, subject: str, **data: Any) -> None:
        at_ns = self._clock()
        publish(connection, Event(topic=topic, version=1, at_ns=at_ns, subject=subject, data=data))


def _bind_origin(connection: Connection, certificate: OriginCertificate, *, renewal: bool) -> None:
    name = certificate.device.uri
    enrolled, bound = records.origin_spki(connection, name)
    check_origin_binding(
        enrolled=enrolled, bound=bound, offered=certificate.spki_der, renewal=renewal
    )
    records.bind_origin(connection, name, certificate.spki_der)
