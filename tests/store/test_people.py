"""People and tokens: what opens, what never opens again, and what is written about it."""

import asyncio
import hashlib
import stat
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from asepsis.core.errors import (
    AsepsisError,
    ConfigError,
    Conflict,
    InputError,
    NotAuthenticated,
    NotFound,
)
from asepsis.core.model.identity import PrincipalKind
from asepsis.hub.access.principal import Principal, Role
from asepsis.hub.access.service import TOKEN_DAYS_MAX, PeopleService
from asepsis.hub.access.tables import people, tokens
from asepsis.hub.audit import log
from asepsis.hub.audit.log import AuditLog
from asepsis.hub.store.store import Store


@pytest.fixture
def service(store: Store) -> PeopleService:
    return PeopleService(store, AuditLog(store.clock))


@pytest.fixture
def token(service: PeopleService) -> str:
    service.add_person("ana", [Role.SECURITY, Role.VIEWER], actor="person:root")
    return service.issue_token("ana", actor="person:root", days=1)


def show(service: PeopleService, token: str) -> Principal:
    return asyncio.run(service.authenticate(b"Bearer " + token.encode()))


def test_a_token_opens_as_its_person_with_present_roles(service: PeopleService, token: str) -> None:
    ana = show(service, token)
    assert (ana.kind, ana.name) == (PrincipalKind.PERSON, "ana")
    assert ana.roles == {Role.SECURITY, Role.VIEWER}
    service.set_roles("ana", [Role.VIEWER], actor="person:root")
    assert show(service, token).roles == {Role.VIEWER}


def test_only_the_hash_of_a_secret_is_stored(token: str, store: Store) -> None:
    secret = bytes.fromhex(token.rpartition(".")[2])
    assert len(secret) == 32
    with store.reading() as connection:
        row = connection.execute(select(tokens)).one()
    assert row.secret_sha256 == hashlib.sha256(secret).digest()
    assert row.id in token


@pytest.mark.parametrize(
    "change",
    [
        lambda _: None,
        lambda _: b"",
        lambda t: b"Basic " + t,
        lambda _: b"Bearer",
        lambda t: b"Bearer " + t[:-2],
        lambda t: b"Bearer " + t[:-2] + b"zz",
        lambda t: b"Bearer " + t[:-1] + (b"0" if t[-1:] != b"0" else b"1"),
        lambda t: b"Bearer " + t.replace(b"asepsis.", b""),
        lambda t: b"Bearer " + t.replace(b"asepsis.", b"asepsis.00"),
        lambda t: b"Bearer asepsis.." + t,
        lambda t: b"Bearer " + t + b"00" * 4096,
        lambda _: b"Bearer \xff\xfe",
    ],
)
def test_what_is_no_good_token(service: PeopleService, token: str, change: Any) -> None:
    with pytest.raises(NotAuthenticated):
        asyncio.run(service.authenticate(change(token.encode())))


def test_a_token_dies_at_its_expiry(service: PeopleService, token: str, clock: Any) -> None:
    clock.advance_s(86_400 - 1)
    show(service, token)
    clock.advance_s(1)
    with pytest.raises(NotAuthenticated):
        show(service, token)


def test_a_revoked_token_dies_at_once_and_stays_in_the_list(
    service: PeopleService, token: str
) -> None:
    token_id = service.list_tokens()[0].id
    service.revoke_token(token_id, actor="person:root")
    with pytest.raises(NotAuthenticated):
        show(service, token)
    assert [t.revoked for t in service.list_tokens()] == [True]
    with pytest.raises(NotFound):
        service.revoke_token(token_id, actor="person:root")


def test_every_change_is_in_the_log(service: PeopleService, token: str, store: Store) -> None:
    service.revoke_token(service.list_tokens()[0].id, actor="person:root")
    with store.reading() as connection:
        found = log.page(connection, after=-1)
        assert [e.action for e in found] == ["add-person", "issue-token", "revoke-token"]
        assert all(token.rpartition(".")[2] not in e.detail for e in found)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda s: s.add_person("", [Role.VIEWER], actor="a"), InputError),
        (lambda s: s.add_person("x" * 121, [Role.VIEWER], actor="a"), InputError),
        (lambda s: s.add_person("a\nb", [Role.VIEWER], actor="a"), InputError),
        (lambda s: s.add_person("bob", [], actor="a"), InputError),
        (lambda s: s.add_person("ana", [Role.VIEWER], actor="a"), Conflict),
        (lambda s: s.set_roles("bob", [Role.VIEWER], actor="a"), NotFound),
        (lambda s: s.set_roles("ana", [], actor="a"), InputError),
        (lambda s: s.issue_token("bob", actor="a"), NotFound),
        (lambda s: s.issue_token("ana", actor="a", days=0), InputError),
        (lambda s: s.issue_token("ana", actor="a", days=TOKEN_DAYS_MAX + 1), InputError),
    ],
)
@pytest.mark.usefixtures("token")
def test_refusals(service: PeopleService, call: Any, error: type[AsepsisError]) -> None:
    with pytest.raises(error):
        call(service)


def test_the_first_administrators_token_is_for_its_owner_only(
    service: PeopleService, tmp_path: Path
) -> None:
    path = tmp_path / "admin.token"
    assert service.ensure_first_administrator(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert show(service, path.read_text().strip()).roles == {Role.ADMINISTRATOR}
    before = path.read_text()
    assert not service.ensure_first_administrator(path)
    assert path.read_text() == before


def test_no_administrator_without_a_token_file(
    service: PeopleService, tmp_path: Path, store: Store
) -> None:
    """Goal: a token that nobody can read would lock everybody out for ever."""
    with pytest.raises(ConfigError):
        service.ensure_first_administrator(tmp_path / "absent" / "admin.token")
    with store.reading() as connection:
        assert connection.execute(select(people)).all() == []
    path = tmp_path / "admin.token"
    path.write_text("left over")
    path.chmod(0o644)
    assert service.ensure_first_administrator(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_stored_role_that_nobody_knows_gives_nothing(
    service: PeopleService, token: str, store: Store
) -> None:
    with store.unit_of_work() as connection:
        connection.execute(text("UPDATE people SET roles = 'surgeon viewer'"))
    assert show(service, token).roles == {Role.VIEWER}
