"""Who is admitted with a certificate of conformance, and who is not."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from asepsis.core.compliance.certificate import admit
from asepsis.core.compliance.profile import Profile, read_profile
from asepsis.core.errors import (
    ContentMismatch,
    IdentityExpired,
    InputError,
    NotPermitted,
    SignatureInvalid,
)
from asepsis.core.trust.libcrypto import PrivateKey, generate_key
from asepsis.tools.conformance.certificate import certify

NOW = datetime(2026, 11, 22, tzinfo=UTC)
HEAD = 'format = 1\nname = "acme-m3"\nversion = 2\ninterface = "adp"\nmodels = ["Acme M3"]\n'
KEY, OTHER = generate_key(), generate_key()


def policy(*keys: PrivateKey, more: str = "") -> Profile:
    """Return a profile that asks for a certificate of one of these keys."""
    words = json.dumps([base64.b64encode(key.spki_der).decode() for key in keys])
    return read_profile(f"{HEAD}[conformance]\nrequired = true\nkeys = {words}\n{more}".encode())


def made(tested: str = "Acme M3 5.1", *, subject: str = "device", ago_days: int = 0) -> bytes:
    """Return a certificate that holds thirty days."""
    report = {"subject": subject, "tested": tested, "suite": "1", "conforms": True}
    return certify(json.dumps(report).encode(), KEY, now=NOW - timedelta(days=ago_days), days=30)


@pytest.mark.parametrize("tested", ["Acme M3", "Acme M3 5.1"])
def test_a_certificate_of_the_model_admits(tested: str) -> None:
    statement = admit(policy(OTHER, KEY), made(tested), now=NOW)
    assert statement is not None
    assert statement.expires == NOW + timedelta(days=30)


@pytest.mark.parametrize(
    ("profile", "certificate", "error"),
    [
        (policy(KEY), b"", NotPermitted),
        (policy(OTHER), made(), SignatureInvalid),
        (policy(KEY), made(ago_days=30), IdentityExpired),
        (policy(KEY), made(ago_days=-1), IdentityExpired),
        (policy(KEY), made("Acme M30 5.1"), ContentMismatch),
        (policy(KEY, more='tested = ["Acme M3 6"]'), made(), ContentMismatch),
        (policy(KEY), made(subject="hub"), ContentMismatch),
        (policy(KEY), b"{}", InputError),
        (policy(KEY), made().replace(b"signature", b"signed"), InputError),
        (read_profile(HEAD.encode()), made(), NotPermitted),
    ],
)
def test_everything_else_does_not(
    profile: Profile, certificate: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        admit(profile, certificate, now=NOW)


def test_a_profile_without_policy_asks_for_nothing() -> None:
    assert admit(read_profile(HEAD.encode()), b"", now=NOW) is None


@pytest.mark.parametrize("keys", ["[]", '["not base64!"]', '["AAAA"]'])
def test_a_policy_that_nobody_can_meet_is_refused(keys: str) -> None:
    with pytest.raises(InputError, match="conformance"):
        read_profile(f"{HEAD}[conformance]\nrequired = true\nkeys = {keys}\n".encode())
