"""What people decide about update clients: who they are, and which software there is for them.

Each decision is audited in its transaction.
"""

import hashlib
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Connection

from asepsis.core.errors import InputError, NotFound
from asepsis.core.wire.ddi import NAME_CHARS_MAX
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.audit.rules import Act
from asepsis.hub.fleet.ddi import records, records_actions
from asepsis.hub.fleet.ddi.files import Files
from asepsis.hub.fleet.ddi.held import Targets
from asepsis.hub.fleet.ddi.model import (
    Action,
    Module,
    Target,
)
from asepsis.hub.fleet.ddi.profiles import PROFILES
from asepsis.hub.store.store import Store

TOKEN_BYTES: Final = 16
"""32 hexadecimal digits, the length that clients and their documents know."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """The use cases of people.

    Attributes:
        store: Where everything stands.
        audit: Gets every decision.
        targets: What is held in memory.
        files: Where files are.
        clock: Wall time in nanoseconds since 1970.
        rng: Returns that many random bytes.
    """

    store: Store
    audit: AuditLog
    targets: Targets
    files: Files
    clock: Callable[[], int]
    rng: Callable[[int], bytes] = secrets.token_bytes

    async def add_target(self, name: str, *, profile: str, person: str) -> str:
        """Enter a target and return its token, which is shown this once.

        Raises:
            InputError: No such profile, or a name that none can have.
            Conflict: There is one of this name.
        """
        if profile not in PROFILES:
            raise InputError("no such profile", hint="one of " + ", ".join(PROFILES))
        if not name or len(name) > NAME_CHARS_MAX or not name.isprintable() or "%" in name:
            raise InputError("no name that a target can have")
        token = self.rng(TOKEN_BYTES).hex()
        target = Target(
            name=name,
            profile=PROFILES[profile],
            token_sha256=_hash(token),
            person=person,
            added_ns=self.clock(),
        )

        def work(connection: Connection) -> None:
            records.add_target(connection, target)
            self._note(connection, person, "add-ddi-target", name, profile=profile)

        await self.store.write(work)
        return token

    async def change_target(
        self,
        name: str,
        *,
        person: str,
        profile: str | None = None,
        blocked: bool | None = None,
        new_token: bool = False,
    ) -> str:
        """Change a target; return its new token, or an empty text.

        Raises:
            NotFound: There is none.
            InputError: No such profile.
        """
        if profile is not None and profile not in PROFILES:
            raise InputError("no such profile", hint="one of " + ", ".join(PROFILES))
        token = self.rng(TOKEN_BYTES).hex() if new_token else ""

        def work(connection: Connection) -> None:
            target = found_target(connection, name)
            changed = replace(
                target,
                profile=target.profile if profile is None else PROFILES[profile],
                blocked=target.blocked if blocked is None else blocked,
                token_sha256=_hash(token) if token else target.token_sha256,
            )
            records.put_target(connection, changed)
            self._note(
                connection,
                person,
                "change-ddi-target",
                name,
                profile=changed.profile.name,
                blocked=changed.blocked,
                new_token=new_token,
            )

        await self.store.write(work)
        self.targets.drop(name)
        return token

    async def target(self, name: str) -> tuple[Target, list[Action]]:
        """Return one target with its actions, newest first.

        Raises:
            NotFound: There is none.
        """

        def read(connection: Connection) -> tuple[Target, list[Action]]:
            target = found_target(connection, name)
            return target, records_actions.read_actions(connection, target=name)

        return await self.store.read(read)

    async def list_targets(self, *, after: str) -> list[Target]:
        """Return targets in the order of their names."""
        limit = records.PAGE_MAX
        return await self.store.read(lambda c: records.read_targets(c, after=after, limit=limit))

    async def add_gateway(self, name: str, *, person: str) -> str:
        """Enter a gateway and return its token, which is shown this once.

        Raises:
            Conflict: There is one of this name.
        """
        token = self.rng(TOKEN_BYTES).hex()

        def work(connection: Connection) -> None:
            records.add_gateway(
                connection, name, token_sha256=_hash(token), person=person, now_ns=self.clock()
            )
            self._note(connection, person, "add-ddi-gateway", name)

        await self.store.write(work)
        await self.targets.load_gateways()
        return token

    async def remove_gateway(self, name: str, *, person: str) -> None:
        """Let a gateway's token count no more.

        Raises:
            NotFound: There is none.
        """

        def work(connection: Connection) -> None:
            records.remove_gateway(connection, name)
            self._note(connection, person, "remove-ddi-gateway", name)

        await self.store.write(work)
        await self.targets.load_gateways()

    async def add_module(
        self,
        *,
        name: str,
        version: str,
        part: str,
        filename: str,
        pieces: AsyncIterator[bytes],
        person: str,
    ) -> Module:
        """Store a file and enter it as a module; errors as `Files.take`."""
        file = await self.files.take(filename, pieces)
        module = Module(
            id=0,
            name=name,
            version=version,
            part=part,
            files=(file,),
            person=person,
            added_ns=self.clock(),
        )

        def work(connection: Connection) -> Module:
            numbered = records.add_module(connection, module)
            self._note(
                connection,
                person,
                "add-ddi-module",
                f"module {numbered.id}",
                name=name,
                version=version,
                sha256=file.sha256,
                size=file.size,
            )
            return numbered

        return await self.store.write(work)

    async def modules(self) -> list[Module]:
        """Return the modules, newest first."""
        return await self.store.read(records.read_modules)

    def _note(
        self, connection: Connection, person: str, action: str, subject: str, **detail: object
    ) -> None:
        self.audit.record(
            connection,
            Act(actor=f"person:{person}", action=action, subject=subject, detail=dict(detail)),
        )


def found_target(connection: Connection, name: str) -> Target:
    """Return a target.

    Raises:
        NotFound: There is none.
    """
    target = records.read_target(connection, name)
    if target is None:
        raise NotFound(f"no target {name}", hint="add it with `asepsis ddi target add`")
    return target


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
