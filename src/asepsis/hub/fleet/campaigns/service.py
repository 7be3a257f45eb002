"""What people decide about campaigns; each act is one transaction with its audit entry."""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec
from sqlalchemy import Connection, select

from asepsis.core.errors import Conflict, InputError, NotFound, NotPermitted
from asepsis.hub.audit import log
from asepsis.hub.audit.rules import Entry
from asepsis.hub.fleet.campaigns import member_rows, rows, states
from asepsis.hub.fleet.campaigns.acts import Acts
from asepsis.hub.fleet.campaigns.document import ALWAYS, read_campaign
from asepsis.hub.fleet.campaigns.engine import leave
from asepsis.hub.fleet.campaigns.model import DONE, Emergency, Order, Spec, State
from asepsis.hub.fleet.campaigns.rows import Stored
from asepsis.hub.fleet.campaigns.tables import targets
from asepsis.hub.fleet.campaigns.waves import placed
from asepsis.hub.fleet.ports import ReleaseFacts

PROPOSED: Final = "propose-emergency"
SECOND_PERSON_NS: Final = 15 * 60 * 10**9
"""How long a proposal waits for the second person."""
_BY_PERSON: Final = frozenset({Order.START, Order.PAUSE, Order.RESUME, Order.HALT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """An emergency that one person proposed, and that waits for another one.

    Attributes:
        number: Its index in the audit log.
        person: Who proposed it.
        reason: Why.
        until_ns: How long it waits, nanoseconds since 1970.
    """

    number: int
    person: str
    reason: str
    until_ns: int


class CampaignService(Acts):
    """The use cases of people; one for a hub."""

    async def create(self, document: str, *, person: str) -> Spec:
        """Keep a campaign as a draft, with every device that it is about.

        Raises:
            InputError: Not a campaign, or a wave without a device.
            NotFound: The release or a calendar is not there.
            NotPermitted: The release is not assessed, not approved by both parties, or withdrawn.
            Conflict: The name is taken.
        """
        spec = read_campaign(document)
        release = await self.releases.release(spec.release)
        now_ns = self.store.clock()

        def work(connection: Connection) -> Spec:
            self._check_calendars(connection, spec)
            where = placed(spec, member_rows.all_members(connection, now_ns=now_ns))
            rows.put_campaign(connection, document, release, person=person, now_ns=now_ns)
            rows.put_targets(connection, spec.name, where, now_ns=now_ns)
            self.note(
                connection,
                "create-campaign",
                spec.name,
                person,
                release=spec.release,
                document=release.document,
                authorisation=release.authorisation,
                change=spec.change,
                devices=len(where),
            )
            return spec

        return await self.store.write(work)

    async def order(self, name: str, order: Order, *, person: str, reason: str) -> State:
        """Start, pause, resume or halt a campaign; return how it stands then.

        Resuming one that a gate halted accepts the failures so far.

        Raises:
            NotFound: No such campaign.
            Conflict: Not in its present state.
            InputError: No reason where one is needed, or an order of another kind.
        """
        if order not in _BY_PERSON:
            raise InputError(f"to {order} has a command of its own")
        if order is not Order.START and not reason.strip():
            raise InputError(f"to {order} needs a reason")

        def work(connection: Connection) -> State:
            stored, now_ns = rows.campaign(connection, name), self.store.clock()
            state = states.after(stored.state, order)
            values: dict[str, Any] = {"state": state.value, "since_ns": now_ns}
            if order is Order.RESUME and stored.state is State.HALTED:
                values["forgiven_ns"] = now_ns
            rows.change_campaign(connection, stored, reason=reason, **values)
            self.note(connection, f"{order}-campaign", name, person, reason=reason)
            return state

        return await self.done(work)

    async def supersede(self, name: str, *, by: str, person: str) -> None:
        """End a campaign and start the draft that takes its place.

        Raises:
            NotFound: No such campaigns.
            Conflict: The first has ended, or the second is no draft.
        """

        def work(connection: Connection) -> None:
            old, new = rows.campaign(connection, name), rows.campaign(connection, by)
            self._end(connection, old, Order.SUPERSEDE, successor=by, reason=f"superseded by {by}")
            state = states.after(new.state, Order.START)
            rows.change_campaign(connection, new, state=state.value, since_ns=self.store.clock())
            self.note(connection, "supersede-campaign", name, person, by=by)

        await self.done(work)

    async def roll_back(
        self, name: str, *, to: str, wave: int | None, person: str, reason: str
    ) -> str:
        """End a campaign and bring what it updated to another release, within the same limits.

        Args:
            name: The campaign.
            to: SHA-256 of the artefact to go to; its counter must not be below the floor that the
                verified release raised, for devices would refuse it.
            wave: Index of the only wave that is rolled back; None for all.
            person: Who decides.
            reason: Why.

        Returns:
            The name of the campaign that does it.

        Raises:
            NotFound: No such campaign or release.
            NotPermitted: The release may not be rolled out.
            Conflict: Another component, below the floor, or nothing to roll back.
        """
        stored = await self.store.read(lambda c: rows.campaign(c, name))
        release = await self.releases.release(to)
        floor = await self._floor_of(stored)
        if release.component != stored.component:
            raise Conflict(f"that release replaces {release.component}, not {stored.component}")
        if release.counter < floor:
            raise Conflict(
                f"counter {release.counter} is below the floor {floor} of verified devices",
                hint="have the vendor sign the old content with a higher counter, and supersede",
            )

        def work(connection: Connection) -> str:
            now = rows.campaign(connection, name)
            successor = f"{name}-back"
            self._end(connection, now, Order.ROLL_BACK, successor=successor, reason=reason)
            devices = _updated(connection, name, wave)
            if not devices:
                raise Conflict("no device runs the release: nothing is to be rolled back")
            self._go_back(connection, now, successor, release, devices, person=person)
            self.note(
                connection, "roll-back-campaign", name, person,
                to=to, reason=reason, devices=len(devices),
            )  # fmt: skip
            return successor

        return await self.done(work)

    async def propose_emergency(self, name: str, *, person: str, reason: str) -> int:
        """Say, as the first person, that a campaign must skip windows and waves.

        Raises:
            NotFound: No such campaign.
            InputError: No reason.
        """
        if not reason.strip():
            raise InputError("an emergency needs a reason")

        def work(connection: Connection) -> int:
            rows.campaign(connection, name)
            return self.note(connection, PROPOSED, name, person, reason=reason)

        return await self.store.write(work)

    async def proposals(self, name: str) -> list[Proposal]:
        """Return what waits for the second person, oldest first; none once it was confirmed."""

        def work(connection: Connection) -> list[Proposal]:
            if rows.campaign(connection, name).emergency is not None:
                return []
            since_ns = self.store.clock() - SECOND_PERSON_NS
            found = log.lately(connection, action=PROPOSED, since_ns=since_ns)
            return [_proposal(one) for one in found if one.subject == name]

        return await self.store.read(work)

    async def confirm_emergency(self, name: str, proposal: int, *, person: str) -> Emergency:
        """Confirm, as the second person; a device in use still waits for a person at that device.

        Raises:
            NotFound: No such campaign or proposal.
            NotPermitted: The same person again.
            Conflict: The proposal waited too long, or the campaign has ended.
        """

        def work(connection: Connection) -> Emergency:
            stored = rows.campaign(connection, name)
            if stored.state in states.ENDED:
                raise Conflict("the campaign has ended")
            found = log.page(connection, after=proposal - 1, entries_max=1)
            if not found or found[0].action != PROPOSED or found[0].subject != name:
                raise NotFound("there is no such proposal")
            if found[0].actor == f"person:{person}":
                raise NotPermitted("a second person must confirm")
            if self.store.clock() - found[0].at_ns > SECOND_PERSON_NS:
                raise Conflict("the proposal waited too long", hint="propose it again")
            said = _proposal(found[0])
            emergency = Emergency(reason=said.reason, first=said.person, second=person)
            rows.change_campaign(connection, stored, emergency=emergency)
            self.note(connection, "confirm-emergency", name, person, proposal=proposal)
            return emergency

        return await self.done(work)

    def _end(
        self, connection: Connection, stored: Stored, order: Order, *, successor: str, reason: str
    ) -> None:
        now_ns = self.store.clock()
        state = states.after(stored.state, order)
        rows.change_campaign(
            connection,
            stored,
            reason=reason,
            state=state.value,
            since_ns=now_ns,
            successor=successor,
        )
        leave(connection, stored.name, now_ns=now_ns)

    def _go_back(
        self,
        connection: Connection,
        old: Stored,
        name: str,
        release: ReleaseFacts,
        devices: Sequence[str],
        *,
        person: str,
    ) -> None:
        """Make and start the campaign that brings devices to another release."""
        now_ns = self.store.clock()
        document = _document_back(old.document, name, release.sha256)
        rows.put_campaign(connection, document, release, person=person, now_ns=now_ns)
        rows.put_targets(connection, name, dict.fromkeys(devices, 0), now_ns=now_ns)
        rows.change_campaign(
            connection,
            rows.campaign(connection, name),
            state=states.after(State.DRAFT, Order.START).value,
        )

    async def _floor_of(self, stored: Stored) -> int:
        """Return the floor that a campaign's release raised; 0 if nobody can say."""
        try:
            return (await self.releases.release(stored.spec.release)).floor
        except (NotFound, NotPermitted):
            return 0  # Withdrawn since: the device itself knows its floor, and refuses.

    def _check_calendars(self, connection: Connection, spec: Spec) -> None:
        unknown = set(spec.calendars) - rows.all_calendars(connection).keys()
        if unknown:
            raise NotFound(
                f"there is no calendar {min(unknown)}",
                hint=f"asepsis campaign calendar FILE, or name {ALWAYS}",
            )


def _proposal(entry: Entry) -> Proposal:
    said = cast("dict[str, Any]", msgspec.json.decode(entry.detail))
    return Proposal(
        number=entry.index,
        person=entry.actor.removeprefix("person:"),
        reason=str(said["reason"]),
        until_ns=entry.at_ns + SECOND_PERSON_NS,
    )


def _updated(connection: Connection, name: str, wave: int | None) -> list[str]:
    """Return the devices of a campaign, or of one wave, that run its release."""
    query = select(targets.c.device).where(
        targets.c.campaign == name, targets.c.standing.in_([one.value for one in DONE])
    )
    if wave is not None:
        query = query.where(targets.c.wave == wave)
    return list(connection.execute(query.order_by(targets.c.device)).scalars())


def _document_back(document: str, name: str, release: str) -> str:
    """Return a campaign of one wave with the limits of another one."""
    old = tomllib.loads(document)
    budgets = [_inline(one) for one in old.get("budgets", [])]
    reserves = [_inline(one) for one in old.get("reserves", [])]
    lines = [
        f"name = {json.dumps(name)}",
        f"release = {json.dumps(release)}",
        f"change = {json.dumps(old['change'])}",
        f"calendars = {json.dumps(old['calendars'])}",
        f"acceptance = {json.dumps(old.get('acceptance', False))}",
        f"budgets = [{', '.join(budgets)}]",
        f"reserves = [{', '.join(reserves)}]",
        'waves = [{ kind = "site" }]',
    ]
    return "\n".join(lines) + "\n"


def _inline(table: dict[str, Any]) -> str:
    """Return an inline table; JSON's words and lists of words are TOML's."""
    return "{ " + ", ".join(f"{k} = {json.dumps(v)}" for k, v in table.items()) + " }"
