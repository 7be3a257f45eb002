"""Passwords: Argon2id on threads of its own, so that no guess keeps the event loop waiting.

A password is stretched with 64 MiB and three passes, the second recommended choice of RFC 9106
section 4. The library gives up the interpreter's lock meanwhile. Few run at once, a few more wait,
and the rest are told to come back: a flood of guesses takes neither the memory nor the processor
from the lanes.
"""

import asyncio
import os
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final, TypeVar

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from asepsis.core.errors import InputError, NotAuthenticated, RateLimited

ITERATIONS: Final = 3
LANES: Final = 4
MEMORY_KIB: Final = 65_536
SALT_BYTES: Final = 16
TAG_BYTES: Final = 32
"""RFC 9106 section 4: t=3, p=4, m=2^16 KiB, 128-bit salt, 256-bit tag."""
PASSWORD_CHARS_MIN: Final = 12
"""NIST SP 800-63B asks for eight; a hospital's accounts open more than one door."""
PASSWORD_CHARS_MAX: Final = 256
DIFFERENT_CHARS_MIN: Final = 5
NAME_CHARS_TELLING: Final = 4
"""A name that is shorter stands in many words by chance."""
WAITING_MAX: Final = 16
"""Sign-ins that wait for a thread; at a tenth of a second each nobody waits for long."""
WORKERS_MAX: Final = 4
BUSY_RETRY_S: Final = 2
T = TypeVar("T")


def check_new_password(password: str, *, person: str) -> None:
    """Let a new password pass.

    Length is what counts; rules about kinds of characters make people write passwords down.

    Raises:
        InputError: Too short, too long, unprintable, the person's name, or one character repeated.

    Source: NIST SP 800-63B section 5.1.1.2.
    """
    if not PASSWORD_CHARS_MIN <= len(password) <= PASSWORD_CHARS_MAX:
        raise InputError(
            f"a password has {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters",
            hint="a few words that mean something to you only are easy to remember",
        )
    if not password.isprintable():
        raise InputError("a password has printable characters only")
    plain = password.casefold()
    named = len(person) >= NAME_CHARS_TELLING and person.casefold() in plain
    if named or len(set(plain)) < DIFFERENT_CHARS_MIN:
        raise InputError("this password is easy to guess", hint="take a few unrelated words")


def stretch(password: str, *, salt: bytes) -> str:
    """Return what is stored of a password: parameters, salt and tag in PHC form. Takes 0.1 s.

    Args:
        password: Any text; it is normalised, so that every keyboard gives the same bytes.
        salt: `SALT_BYTES` random bytes.
    """
    kdf = Argon2id(
        salt=salt, length=TAG_BYTES, iterations=ITERATIONS, lanes=LANES, memory_cost=MEMORY_KIB
    )
    return kdf.derive_phc_encoded(_bytes(password))


def verify(password: str, phc: str) -> None:
    """Let the right password pass. Takes 0.1 s, whatever the outcome.

    Raises:
        NotAuthenticated: Another password, or a stored form that cannot be read.
    """
    try:
        Argon2id.verify_phc_encoded(_bytes(password), phc)
    except (InvalidKey, ValueError) as error:
        raise NotAuthenticated("name and password do not fit together") from error


class PasswordDesk:
    """Stretches and verifies beside the event loop, few at a time.

    Resource handling: holds up to `WORKERS_MAX` threads and 64 MiB for each that works; `close`
    releases them.
    """

    def __init__(self) -> None:
        # Half the processors stay free for the lanes.
        self.workers = max(1, min(WORKERS_MAX, (os.cpu_count() or 1) // 2))
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="passwords")
        self._inside = 0

    async def stretch(self, password: str) -> str:
        """Return what is stored of a new password.

        Raises:
            RateLimited: Too many are waiting.
        """
        salt = secrets.token_bytes(SALT_BYTES)
        return await self._work(lambda: stretch(password, salt=salt))

    async def verify(self, password: str, phc: str | None) -> None:
        """Let the right password pass; without a stored one, take as long and refuse.

        Raises:
            NotAuthenticated: Another password, or none is stored.
            RateLimited: Too many are waiting.
        """
        await self._work(lambda: verify(password, phc or _nobody()))
        if phc is None:
            raise NotAuthenticated("name and password do not fit together")

    def close(self) -> None:
        """End the threads; what runs is finished first."""
        self._threads.shutdown()

    async def _work(self, call: Callable[[], T]) -> T:
        if self._inside >= self.workers + WAITING_MAX:
            raise RateLimited("many people are signing in", retry_after_s=BUSY_RETRY_S)
        self._inside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        finally:
            self._inside -= 1


@cache
def _nobody() -> str:
    """Return the stored form of a password that nobody knows: its time equals everybody's."""
    return stretch(secrets.token_hex(TAG_BYTES), salt=secrets.token_bytes(SALT_BYTES))


def _bytes(password: str) -> bytes:
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
