"""Second factors on both databases: what they open, that codes count once, and the way back."""

import asyncio
import base64
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from asepsis.core.errors import Conflict, NotAuthenticated, NotFound, NotPermitted, RateLimited
from asepsis.hub.access import factors, totp
from asepsis.hub.access.access import Access, build_access
from asepsis.hub.access.accounts import SignIn
from asepsis.hub.access.passwords import stretch
from asepsis.hub.access.principal import Role
from asepsis.hub.access.rules import SECOND_FACTOR, Action, decide
from asepsis.hub.access.sessions import PROVEN_S, Session, SessionLimits
from asepsis.hub.access.throttle import PAIR
from asepsis.hub.audit import log
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.store.store import Store

PASSWORD = "four quiet green lamps"
LIMITS = SessionLimits(idle_s=40_000, age_s=43_200, display_s=2_592_000)
ADDRESS = "10.0.0.5"
NS = 10**9
T = TypeVar("T")
Clock = Any


def made(store: Store) -> Access:
    """Return a hub's access; two of them may share one state."""
    return build_access(store, AuditLog(store.clock), limits=LIMITS, monotonic=store.clock)


@pytest.fixture
def access(store: Store, monkeypatch: pytest.MonkeyPatch) -> Access:
    """Return everything about people; passwords are stretched less, which is tested elsewhere."""
    monkeypatch.setattr("asepsis.hub.access.passwords.MEMORY_KIB", 64)
    nobody = stretch("nobody knows", salt=bytes(16))
    monkeypatch.setattr("asepsis.hub.access.passwords._nobody", lambda: nobody)
    found = made(store)
    found.people.add_person("root", [Role.ADMINISTRATOR], actor="test")
    found.people.add_person("ana", [Role.ADMINISTRATOR], actor="test")
    run(found.accounts.set_password("ana", PASSWORD, actor="root"))
    return found


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def session_of(access: Access) -> tuple[str, Session]:
    given = SignIn(name="ana", password=PASSWORD, address=ADDRESS, agent="browser")
    cookie = run(access.accounts.sign_in(given))
    return cookie, run(access.sessions.authenticate(cookie))


def code_of(secret: str, store: Store, *, ahead: int = 0) -> str:
    """Return what an authenticator shows now, from what a person typed into it."""
    raw = base64.b32decode(secret.replace(" ", ""))
    return totp.code(raw, store.clock() // NS // totp.STEP_S + ahead)


def enrolled(access: Access, store: Store) -> tuple[str, str]:
    """Return a session's cookie and a secret that counts."""
    cookie, session = session_of(access)
    begun = run(access.factors.begin(session))
    run(access.factors.confirm(session, code_of(begun.secret, store), address=ADDRESS))
    return cookie, begun.secret


def actions(store: Store) -> list[str]:
    with store.reading() as connection:
        return [e.action for e in log.page(connection, after=-1)]


def test_a_password_alone_may_look_and_not_act(access: Access) -> None:
    _, session = session_of(access)
    assert session.principal.password_only
    for action in Action:
        if action in SECOND_FACTOR:
            with pytest.raises(NotPermitted, match="second factor"):
                decide(session.principal, action)
    decide(session.principal, Action.LIST_DEVICES)
    decide(session.principal, Action.REVOKE_DEVICE)


def test_a_code_opens_a_session_for_a_while(access: Access, store: Store, clock: Clock) -> None:
    cookie, secret = enrolled(access, store)
    decide(run(access.sessions.authenticate(cookie)).principal, Action.MANAGE_CAMPAIGNS)
    clock.now_ns += PROVEN_S * NS
    session = run(access.sessions.authenticate(cookie))
    with pytest.raises(NotPermitted):
        decide(session.principal, Action.MANAGE_CAMPAIGNS)
    run(access.factors.prove(session, code_of(secret, store), address=ADDRESS))
    decide(run(access.sessions.authenticate(cookie)).principal, Action.MANAGE_CAMPAIGNS)
    assert run(access.factors.info("ana")).enrolled
    found = [a for a in actions(store) if a.endswith("second-factor")]
    assert found == ["begin-second-factor", "set-second-factor", "prove-second-factor"]


def test_a_token_of_the_same_person_needs_none(access: Access) -> None:
    token = access.people.issue_token("ana", actor="root")
    found = run(access.people.recognise(b"Bearer " + token.encode()))
    decide(found.principal, Action.MANAGE_CAMPAIGNS)


def test_a_code_counts_once_on_two_hubs_at_once(access: Access, store: Store, clock: Clock) -> None:
    cookie, secret = enrolled(access, store)
    clock.now_ns += 120 * NS
    session, text, other = (
        run(access.sessions.authenticate(cookie)),
        code_of(secret, store),
        made(store),
    )

    async def both() -> list[object]:
        proofs = (one.factors.prove(session, text, address=ADDRESS) for one in (access, other))
        return list(await asyncio.gather(*proofs, return_exceptions=True))

    found = run(both())
    assert sorted(type(one).__name__ for one in found) == ["NoneType", "NotAuthenticated"]
    with pytest.raises(NotAuthenticated):
        run(other.factors.prove(session, text, address=ADDRESS))


def test_another_one_needs_a_code_of_the_present_one(
    access: Access, store: Store, clock: Clock
) -> None:
    cookie, secret = enrolled(access, store)
    clock.now_ns += PROVEN_S * NS
    session = run(access.sessions.authenticate(cookie))
    with pytest.raises(NotPermitted, match="present second factor"):
        run(access.factors.begin(session))
    run(access.factors.prove(session, code_of(secret, store), address=ADDRESS))
    session = run(access.sessions.authenticate(cookie))
    begun = run(access.factors.begin(session))
    clock.now_ns += 60 * NS
    # Until a code of the new one was shown, the old one counts.
    run(access.factors.prove(session, code_of(secret, store), address=ADDRESS))
    run(access.factors.confirm(session, code_of(begun.secret, store), address=ADDRESS))
    clock.now_ns += 60 * NS
    with pytest.raises(NotAuthenticated):
        run(access.factors.prove(session, code_of(secret, store), address=ADDRESS))


def test_enrolment_ends_the_other_sessions(access: Access, store: Store) -> None:
    thief, _ = session_of(access)
    enrolled(access, store)
    with pytest.raises(NotAuthenticated):
        run(access.sessions.authenticate(thief))


def test_guessing_waits_and_then_ends(
    access: Access, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie, secret = enrolled(access, store)
    session = run(access.sessions.authenticate(cookie))
    clock.now_ns += 3_600 * NS
    for _ in range(PAIR.guesses_max):
        with pytest.raises(NotAuthenticated):
            run(access.factors.prove(session, "none", address=ADDRESS))
    with pytest.raises(RateLimited):
        run(access.factors.prove(session, code_of(secret, store), address=ADDRESS))
    monkeypatch.setattr(factors, "WRONG_MAX", 5)
    clock.now_ns += 3_600 * NS
    with pytest.raises(NotPermitted, match="too many wrong"):
        run(access.factors.prove(session, code_of(secret, store), address=ADDRESS))


def test_an_administrator_ends_it_and_nobody_their_own(access: Access, store: Store) -> None:
    cookie, _ = enrolled(access, store)
    with pytest.raises(NotPermitted):
        run(access.factors.end("ana", actor="ana"))
    run(access.factors.end("ana", actor="root"))
    session = run(access.sessions.authenticate(cookie))
    assert session.principal.password_only
    with pytest.raises(NotFound):
        run(access.factors.prove(session, "123456", address=ADDRESS))
    with pytest.raises(NotFound):
        run(access.factors.end("ana", actor="root"))
    listed = {one.name: one.second_factor for one in run(access.accounts.listing())}
    assert listed == {"ana": False, "root": False}
    assert "end-second-factor" in actions(store)


def test_a_person_who_leaves_takes_it_along(access: Access, store: Store) -> None:
    enrolled(access, store)
    run(access.accounts.remove("ana", actor="root"))
    with store.reading() as connection:
        assert factors.enrolled(connection) == set()


def test_a_wall_display_has_none(access: Access) -> None:
    access.people.add_person("wall", [Role.VIEWER], actor="root")
    run(access.accounts.set_password("wall", PASSWORD, actor="root"))
    given = SignIn(name="wall", password=PASSWORD, address=ADDRESS, agent="b", display=True)
    cookie = run(access.accounts.sign_in(given))
    session = run(access.sessions.authenticate(cookie))
    with pytest.raises(Conflict):
        run(access.factors.begin(session))
