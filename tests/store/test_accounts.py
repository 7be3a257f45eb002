"""Accounts and sessions on both databases: who gets in, how long, and what is left of it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from sqlalchemy import func, select

from asepsis.core.errors import Conflict, InputError, NotAuthenticated, NotFound, RateLimited
from asepsis.hub.access.access import Access, build_access
from asepsis.hub.access.accounts import SignIn
from asepsis.hub.access.passwords import stretch
from asepsis.hub.access.principal import Role
from asepsis.hub.access.sessions import PER_PERSON_MAX, SessionLimits
from asepsis.hub.access.tables import passwords, sessions
from asepsis.hub.audit import log
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.store.store import Store

PASSWORD = "four quiet green lamps"
LIMITS = SessionLimits(idle_s=900, age_s=43_200, display_s=2_592_000)
T = TypeVar("T")
Clock = Any


class Line:
    """A connection that remembers whether it was ended."""

    closed = False

    def on_close(self, callback: Callable[[], None]) -> None:
        """Keep nothing: this line ends with the test."""

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def access(store: Store, monkeypatch: pytest.MonkeyPatch) -> Access:
    """Return everything about people; passwords are stretched less, which is tested elsewhere."""
    monkeypatch.setattr("asepsis.hub.access.passwords.MEMORY_KIB", 64)
    nobody = stretch("nobody knows", salt=bytes(16))
    monkeypatch.setattr("asepsis.hub.access.passwords._nobody", lambda: nobody)
    made = build_access(store, AuditLog(store.clock), limits=LIMITS, monotonic=store.clock)
    made.people.add_person("root", [Role.ADMINISTRATOR], actor="test")
    made.people.add_person("ana", [Role.CLINICIAN], actor="test")
    run(made.accounts.set_password("ana", PASSWORD, actor="root"))
    return made


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def enter(access: Access, name: str = "ana", **changes: Any) -> str:
    given = {"name": name, "password": PASSWORD, "address": "10.0.0.5", "agent": "browser"}
    return run(access.accounts.sign_in(SignIn(**given | changes)))


def actions(store: Store) -> list[tuple[str, str, str]]:
    with store.reading() as connection:
        return [(e.actor, e.action, e.subject) for e in log.page(connection, after=-1)]


def test_a_right_password_opens_a_session(access: Access, store: Store) -> None:
    cookie = enter(access)
    session = run(access.sessions.authenticate(cookie))
    assert session.principal.name == "ana"
    assert session.principal.roles == {Role.CLINICIAN}
    with store.reading() as connection:
        stored = connection.execute(select(sessions)).one()
        phc = connection.scalar(select(passwords.c.phc))
    secret = cookie.partition(".")[2]
    assert bytes.fromhex(secret) != stored.secret_sha256
    assert phc.startswith("$argon2id$")
    assert ("person:ana", "sign-in", "person:ana") in actions(store)


@pytest.mark.parametrize(
    "changes", [{"password": "x" * 20}, {"name": "nobody"}, {"name": "root"}, {"password": ""}]
)
def test_everything_else_is_refused_alike(
    access: Access, store: Store, changes: dict[str, str]
) -> None:
    with pytest.raises(NotAuthenticated) as caught:
        enter(access, **changes)
    assert str(caught.value) == "name and password do not fit together"
    actor, action, subject = actions(store)[-1]
    assert (actor, action) == ("nobody", "refuse-sign-in")
    assert subject == ("person:ana" if changes.get("name", "ana") == "ana" else "person:unknown")


@pytest.mark.parametrize("cookie", ["", "x", "0123456789abcdef.", "0123456789abcdef.00", "a.b.c"])
def test_a_made_up_cookie_opens_nothing(access: Access, cookie: str) -> None:
    with pytest.raises(NotAuthenticated):
        run(access.sessions.authenticate(cookie))


def test_a_session_ends_when_nobody_uses_it(access: Access, clock: Clock) -> None:
    cookie = enter(access)
    for _ in range(5):
        clock.advance_s(LIMITS.idle_s - 30)
        run(access.sessions.authenticate(cookie))
    clock.advance_s(LIMITS.idle_s - 30)
    run(access.sessions.authenticate(cookie, used=False))
    clock.advance_s(31)
    with pytest.raises(NotAuthenticated):
        run(access.sessions.authenticate(cookie))


def test_a_session_ends_by_age_however_it_is_used(access: Access, clock: Clock) -> None:
    cookie = enter(access)
    for _ in range(LIMITS.age_s // 800 - 1):
        clock.advance_s(800)
        run(access.sessions.authenticate(cookie))
    clock.advance_s(800)
    with pytest.raises(NotAuthenticated):
        run(access.sessions.authenticate(cookie))


def test_a_wall_display_stays_and_only_looks(access: Access, clock: Clock) -> None:
    with pytest.raises(InputError):
        enter(access, display=True)
    access.people.set_roles("ana", [Role.VIEWER], actor="test")
    cookie = enter(access, display=True)
    clock.advance_s(20 * 86_400)
    assert run(access.sessions.authenticate(cookie)).display
    run(access.accounts.set_roles("ana", [Role.VIEWER, Role.CLINICIAN], actor="root"))
    with pytest.raises(NotAuthenticated):
        run(access.sessions.authenticate(cookie))


def test_streams_of_expired_and_ended_credentials_are_cut(access: Access, clock: Clock) -> None:
    """Goal: another hub's sign-out, an expiry and a revoked token end what is held open here."""
    token = access.people.issue_token("ana", actor="test", days=1)
    lines = [Line() for _ in range(3)]

    async def hold(*cookies: str) -> None:
        for line, cookie in zip(lines, cookies, strict=False):
            await access.sessions.authenticate(cookie, connection=line)
        found = await access.people.recognise(b"Bearer " + token.encode())
        access.held.note(lines[2], credential=f"token:{found.token_id}", person="ana")

    first, other = enter(access), enter(access)
    run(hold(first, other))
    assert run(access.sessions.step()) == 0
    run(access.sessions.end(first.partition(".")[0], actor="ana"))
    access.people.revoke_token(token.split(".")[1], actor="test")
    run(access.sessions.step())
    assert [line.closed for line in lines] == [True, False, True]
    clock.advance_s(LIMITS.idle_s)
    assert run(access.sessions.step()) >= 1
    assert lines[1].closed


def test_one_person_has_so_many_sessions(access: Access, store: Store, clock: Clock) -> None:
    cookies = []
    for _ in range(PER_PERSON_MAX + 2):
        clock.advance_s(1)
        cookies.append(run(access.sessions.open("ana", address="10.0.0.5", agent="browser")))
    with store.reading() as connection:
        count = connection.scalar(select(func.count()).select_from(sessions))
    assert count == PER_PERSON_MAX
    run(access.sessions.authenticate(cookies[-1]))
    with pytest.raises(NotAuthenticated):
        run(access.sessions.authenticate(cookies[0]))


def test_a_new_password_ends_every_session(access: Access) -> None:
    cookie = enter(access)
    run(access.accounts.set_password("ana", "another seven words", actor="root"))
    with pytest.raises(NotAuthenticated):
        run(access.sessions.authenticate(cookie))
    with pytest.raises(NotAuthenticated):
        enter(access)
    enter(access, password="another seven words")


def test_changing_ones_own_password_needs_the_old_one(access: Access) -> None:
    def change(old: str, new: str) -> None:
        run(
            access.accounts.change_password(
                "ana", old=old, new=new, address="10.0.0.5", besides=None
            )
        )

    with pytest.raises(NotAuthenticated):
        change("wrong wrong wrong", "seven dry wooden stairs")
    with pytest.raises(InputError):
        change(PASSWORD, "short")
    change(PASSWORD, "seven dry wooden stairs")
    enter(access, password="seven dry wooden stairs")


def test_guessing_is_slowed_down(access: Access) -> None:
    for _ in range(5):
        with pytest.raises(NotAuthenticated):
            enter(access, password="wrong")
    with pytest.raises(RateLimited):
        enter(access)
    enter(access, address="10.0.0.6")


def test_nothing_is_left_of_a_removed_person_but_the_audit_log(
    access: Access, store: Store
) -> None:
    cookie = enter(access)
    access.people.issue_token("ana", actor="test")
    run(access.accounts.remove("ana", actor="root"))
    with pytest.raises(NotAuthenticated):
        run(access.sessions.authenticate(cookie))
    assert [each.name for each in run(access.accounts.listing())] == ["root"]
    assert actions(store)[-1] == ("person:root", "remove-person", "person:ana")
    for act in (
        access.accounts.remove("ana", actor="root"),
        access.accounts.set_password("ana", PASSWORD, actor="root"),
        access.accounts.set_roles("ana", [Role.VIEWER], actor="root"),
    ):
        with pytest.raises(NotFound):
            run(act)


def test_the_last_administrator_stays(access: Access) -> None:
    for act in (
        access.accounts.remove("root", actor="root"),
        access.accounts.set_roles("root", [Role.VIEWER], actor="root"),
    ):
        with pytest.raises(Conflict):
            run(act)
    run(access.accounts.add("second", [Role.ADMINISTRATOR], actor="root"))
    run(access.accounts.remove("root", actor="second"))


def test_the_list_says_who_can_sign_in(access: Access) -> None:
    enter(access)
    access.people.issue_token("root", actor="test")
    found = {each.name: each for each in run(access.accounts.listing())}
    assert (found["ana"].password, found["ana"].sessions, found["ana"].tokens) == (True, 1, 0)
    assert (found["root"].password, found["root"].tokens) == (False, 1)
