"""Who may bring images, what a repeated one means, and when one may go."""

import itertools

import pytest

from asepsis.core.errors import InputError, NotPermitted, RateLimited
from asepsis.core.model.identity import PrincipalKind
from asepsis.hub.access.principal import Principal
from asepsis.hub.imaging import rules
from asepsis.hub.imaging.rules import Keeping, Repeat, may_purge, repeat, source_of

DEVICE = Principal(kind=PrincipalKind.DEVICE, name="d")


def gateway(*declared: str) -> Principal:
    return Principal(kind=PrincipalKind.GATEWAY, name="g", declared=frozenset(declared))


def test_a_source_speaks_for_itself_or_for_whom_it_is_declared() -> None:
    """REQ-IMG-004."""
    assert source_of(DEVICE, None) == "d"
    assert source_of(DEVICE, "d") == "d"
    assert source_of(gateway("m"), None) == "m"
    assert source_of(gateway("m", "n"), "n") == "n"
    for principal, named in ((DEVICE, "m"), (gateway("m"), "n"), (gateway(), None)):
        with pytest.raises(NotPermitted):
            source_of(principal, named)
    with pytest.raises(InputError):
        source_of(gateway("m", "n"), None)


def test_the_same_bytes_are_a_success_and_others_a_conflict() -> None:
    """REQ-IMG-008."""
    assert repeat(None, 1, b"a") is Repeat.NEW
    assert repeat((1, b"a"), 1, b"a") is Repeat.SAME
    assert repeat((1, b"a"), 1, b"b") is Repeat.CONFLICT
    assert repeat((1, b"a"), 2, b"a") is Repeat.CONFLICT


def test_nothing_goes_that_no_archive_accepted() -> None:
    """REQ-IMG-006."""
    keeping = Keeping(keep_ns=100, keep_full_ns=10, quarantine_ns=1)
    for now_ns, full in itertools.product((0, 10, 99, 100, 10**18), (False, True)):
        refused = may_purge(
            keeping, received_at_ns=0, accepted_at_ns=None, now_ns=now_ns, full=full
        )
        allowed = may_purge(keeping, received_at_ns=0, accepted_at_ns=0, now_ns=now_ns, full=full)
        assert refused is False
        assert allowed is (now_ns >= (10 if full else 100))


def test_places_are_bounded() -> None:
    rules.check_room(rules.UPLOADS_MAX - 1, rules.UPLOADS_PER_IDENTITY_MAX - 1)
    with pytest.raises(RateLimited):
        rules.check_room(rules.UPLOADS_MAX, 0)
    with pytest.raises(RateLimited):
        rules.check_room(0, rules.UPLOADS_PER_IDENTITY_MAX)


@pytest.mark.parametrize("title", ["A" * 17, "\x07", "\u00e4"])
def test_titles_and_users_are_bounded(title: str) -> None:
    with pytest.raises(InputError):
        rules.calling_ae(title)
    with pytest.raises(InputError):
        rules.person("\x07" + title)
    assert rules.calling_ae(" CT1 ") == "CT1"
    assert rules.person(None) == ""
