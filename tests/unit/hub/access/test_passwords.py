"""Passwords: what is stored, what is refused, and that a guess costs the same for everybody."""

import asyncio
import re

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from asepsis.core.errors import InputError, NotAuthenticated, RateLimited
from asepsis.hub.access import passwords
from asepsis.hub.access.passwords import PasswordDesk, check_new_password, stretch, verify

GOOD = "four quiet green lamps"


def test_what_is_stored_follows_rfc_9106() -> None:
    stored = stretch(GOOD, salt=bytes(16))
    version, parameters, salt, tag = stored.split("$")[2:]
    assert stored.startswith("$argon2id$")
    assert (version, parameters) == ("v=19", "m=65536,t=3,p=4")
    assert (len(salt), len(tag)) == (22, 43)
    verify(GOOD, stored)
    for wrong in ("four quiet green lamp", "", GOOD.upper()):
        with pytest.raises(NotAuthenticated):
            verify(wrong, stored)


def test_every_keyboard_gives_the_same_password() -> None:
    """Goal: an accented letter typed as one character or two opens the same account."""
    verify("Z\u00fcrich und Gen\u00e8ve", stretch("Zu\u0308rich und Gene\u0300ve", salt=bytes(16)))


@pytest.mark.parametrize("stored", ["", "nonsense", "$argon2id$v=19$m=8,t=1,p=1$AA$AA"])
def test_a_stored_form_that_cannot_be_read_opens_nothing(stored: str) -> None:
    with pytest.raises(NotAuthenticated):
        verify(GOOD, stored)


@pytest.mark.parametrize(
    "password",
    [
        "",
        "eleven char",
        "x" * 257,
        "aaaaaaaaaaaaaaaa",
        "abababababababab",
        "clara clara 12",
        "tab\tin here ok",
    ],
)
def test_what_is_easy_to_guess_is_refused(password: str) -> None:
    with pytest.raises(InputError):
        check_new_password(password, person="clara")


@pytest.mark.parametrize("person", ["clara", "a", "bo"])
def test_a_few_words_are_good(person: str) -> None:
    check_new_password(GOOD, person=person)


def test_an_account_without_password_is_checked_as_long_as_one_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Goal: time tells nobody which names exist: one whole check is made for each."""
    checked: list[str] = []
    real = passwords.verify

    def count(password: str, phc: str) -> None:
        checked.append(re.split(r"\$", phc)[3])
        real(password, phc)

    monkeypatch.setattr(passwords, "verify", count)

    async def ask() -> None:
        desk = PasswordDesk()
        for phc in (None, stretch("another one here", salt=bytes(16))):
            with pytest.raises(NotAuthenticated):
                await desk.verify(GOOD, phc)
        desk.close()

    asyncio.run(ask())
    assert checked == ["m=65536,t=3,p=4"] * 2


def test_a_flood_of_guesses_is_told_to_come_back() -> None:
    async def flood() -> list[BaseException | None]:
        desk = PasswordDesk()
        cheap = Argon2id(salt=bytes(16), length=32, iterations=1, lanes=1, memory_cost=64)
        stored = cheap.derive_phc_encoded(GOOD.encode())
        most = desk.workers + passwords.WAITING_MAX
        found = await asyncio.gather(
            *(desk.verify(GOOD, stored) for _ in range(most + 5)), return_exceptions=True
        )
        desk.close()
        return found

    refused = [each for each in asyncio.run(flood()) if each is not None]
    assert len(refused) == 5
    assert all(isinstance(each, RateLimited) for each in refused)
