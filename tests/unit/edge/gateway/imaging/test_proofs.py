"""Proofs of users and every way to forge them that we know of."""

import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
from lxml import etree

from asepsis.core.errors import ConfigError, NotAuthenticated
from asepsis.edge.gateway.imaging import kerberos, proofs
from asepsis.edge.gateway.imaging.proofs import Judges, JwtJudge, PasscodeJudge, Proven
from asepsis.edge.gateway.imaging.saml import SamlJudge
from asepsis.edge.gateway.imaging.settings import (
    IdentityForm,
    JwtSettings,
    KerberosSettings,
    RoleRow,
    SamlSettings,
)

TESTS = Path(__file__).parents[4]
sys.path[:0] = [str(TESTS / "system" / "imaging_gateway"), str(TESTS.parent / "benchmarks")]

from proofs_of_users import AUDIENCE, ISSUER, Authority, assertion, token  # noqa: E402

S = "urn:oasis:names:tc:SAML:2.0:assertion"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("strange"), "strange")


@pytest.fixture
def tokens(ours: Authority) -> JwtJudge:
    settings = JwtSettings(
        issuer=ISSUER, key_file=str(ours.public_file), audience=AUDIENCE, role_claim="role"
    )
    return JwtJudge(settings, skew_s=5)


@pytest.fixture
def assertions(ours: Authority) -> SamlJudge:
    settings = SamlSettings(
        issuer=ISSUER,
        certificate_file=str(ours.certificate_file),
        audience=AUDIENCE,
        role_attribute="role",
    )
    return SamlJudge(settings, skew_s=5, now=lambda: datetime.now(UTC))


def test_a_good_token(tokens: JwtJudge, ours: Authority) -> None:
    expected = Proven("nurse", frozenset({"radiographer"}))
    assert tokens.judge(token(ours).encode(), b"") == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None},
        {"exp": int(time.time()) - 60},
        {"nbf": int(time.time()) + 86_400},
        {"aud": "somebody-else"},
        {"aud": None},
        {"iss": "https://evil.test"},
        {"iss": None},
        {"sub": None},
    ],
)
def test_a_token_with_other_claims(
    tokens: JwtJudge, ours: Authority, changes: dict[str, object]
) -> None:
    with pytest.raises(NotAuthenticated):
        tokens.judge(token(ours, **changes).encode(), b"")


def test_a_token_of_another_key_or_algorithm(
    tokens: JwtJudge, ours: Authority, strange: Authority
) -> None:
    """Goal: `none`, and HMAC with the public key as its secret, are no signatures."""
    claims = {"iss": ISSUER, "sub": "nurse", "aud": AUDIENCE, "exp": int(time.time()) + 300}
    none = jwt.encode(claims, "", algorithm="none")
    head = jwt.utils.base64url_encode(b'{"alg":"HS256","typ":"JWT"}').decode()
    body = none.split(".")[1]
    mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    forged = mac.sign(f"{head}.{body}".encode(), ours.public_file.read_bytes())
    hmac_token = f"{head}.{body}." + jwt.utils.base64url_encode(forged).decode()
    for text in (none, hmac_token, token(strange), "", "a.b.c", "\xff"):
        with pytest.raises(NotAuthenticated):
            tokens.judge(text.encode(), b"")


def test_a_private_key_is_no_key_file(ours: Authority, tmp_path: Path) -> None:
    key, _, _ = ours.leaf("x")
    for file in (key, tmp_path / "absent"):
        settings = JwtSettings(issuer=ISSUER, key_file=str(file), audience=AUDIENCE)
        with pytest.raises(ConfigError):
            JwtJudge(settings, skew_s=0)


def test_a_good_assertion(assertions: SamlJudge, ours: Authority) -> None:
    expected = Proven("nurse", frozenset({"radiographer"}))
    assert assertions.judge(assertion(ours), b"") == expected


def wrapped(data: bytes) -> bytes:
    """An evil assertion around the good one, which keeps its valid signature."""
    evil = etree.fromstring(data.replace(b">nurse<", b">admin<"))
    for signature in evil.findall("{http://www.w3.org/2000/09/xmldsig#}Signature"):
        evil.remove(signature)
    evil.set("ID", "_evil")
    evil.append(etree.fromstring(data))
    return etree.tostring(evil)


def moved(data: bytes) -> bytes:
    """The good assertion inside a response of an attacker."""
    return b'<r xmlns="urn:x">' + data + b"</r>"


def beside(data: bytes) -> bytes:
    """A second subject that the signature does not cover would come first."""
    start = data.index(b"<saml:Subject>")
    return (
        data[:start]
        + b"<saml:Subject><saml:NameID>admin</saml:NameID></saml:Subject>"
        + data[start:]
    )


def commented(data: bytes) -> bytes:
    """A comment that splits the text of a name (CVE-2018-0489 and its family)."""
    return data.replace(b">nurse<", b">nu<!-- -->rse<")


def with_entity(data: bytes) -> bytes:
    return b'<!DOCTYPE a [<!ENTITY x "admin">]>' + data.replace(b">nurse<", b">&x;<")


def with_external(data: bytes) -> bytes:
    return b'<!DOCTYPE a SYSTEM "file:///etc/passwd">' + data


def empty(data: bytes) -> bytes:
    return data[:0]


def other_role(data: bytes) -> bytes:
    return data.replace(b">radiographer<", b">administrator<")


@pytest.mark.parametrize(
    "forge", [wrapped, moved, beside, commented, with_entity, with_external, empty, other_role]
)
def test_forged_assertions(
    assertions: SamlJudge, ours: Authority, forge: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(NotAuthenticated):
        assertions.judge(forge(assertion(ours)), b"")


def test_assertions_that_are_not_for_us_or_not_now(
    assertions: SamlJudge, ours: Authority, strange: Authority
) -> None:
    for data in (
        assertion(ours, sign=False),
        assertion(strange),
        assertion(ours, issuer="https://evil.test"),
        assertion(ours, audience="urn:somebody:else"),
        assertion(ours, ends_s=-30),
        assertion(ours, begins_s=120),
        assertion(ours) + b" " * 65_535,
    ):
        with pytest.raises(NotAuthenticated):
            assertions.judge(data, b"")


def test_clocks_may_differ_by_the_skew(ours: Authority) -> None:
    settings = SamlSettings(
        issuer=ISSUER, certificate_file=str(ours.certificate_file), audience=AUDIENCE
    )
    late = datetime.now(UTC) + timedelta(seconds=310)
    data = assertion(ours, ends_s=300)
    assert SamlJudge(settings, skew_s=30, now=lambda: late).judge(data, b"").user == "nurse"
    with pytest.raises(NotAuthenticated):
        SamlJudge(settings, skew_s=5, now=lambda: late).judge(data, b"")


def test_passcodes(tmp_path: Path) -> None:
    file = tmp_path / "passcodes"
    lines = [proofs.passcode_line(name, "correct horse", salt=os.urandom(16)) for name in "ab"]
    file.write_text("\n".join(lines))
    file.chmod(0o600)
    judge = PasscodeJudge(file)
    assert judge.judge(b"a", b"correct horse") == Proven("a")
    for user, passcode in ((b"a", b"wrong"), (b"c", b"correct horse"), (b"\xff", b""), (b"", b"")):
        with pytest.raises(NotAuthenticated):
            judge.judge(user, passcode)
    assert lines[0] not in lines[1]
    file.chmod(0o644)
    with pytest.raises(ConfigError):
        PasscodeJudge(file)


def test_passcode_files_and_lines_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "passcodes"
    file.write_text("a:b\n")
    file.chmod(0o600)
    for path in (file, tmp_path / "absent"):
        with pytest.raises(ConfigError):
            PasscodeJudge(path)
    for user, passcode in (("a:b", "long enough"), ("a", "short"), ("", "long enough")):
        with pytest.raises(ConfigError):
            proofs.passcode_line(user, passcode, salt=bytes(16))


def row(form: IdentityForm, **more: str) -> RoleRow:
    return RoleRow(form=form, roles=("store",), **more)


@pytest.mark.parametrize(
    ("rule", "user", "claims", "fits"),
    [
        (row("jwt", user="nurse"), "nurse", "", True),
        (row("jwt", user="nurse"), "nurse2", "", False),
        (row("saml", user="nurse"), "nurse", "", False),
        (row("jwt"), "nurse", "", False),
        (row("jwt", claim="rad"), "nurse", "rad", True),
        (row("jwt", claim="rad"), "nurse", "other", False),
        (row("jwt", user="*@H.TEST"), "nurse@H.TEST", "", True),
        (row("jwt", user="*@H.TEST"), "nurse@EVIL.TEST", "", False),
        (row("jwt", user="*@H.TEST"), "nurse@EVIL.TEST@H.TEST", "", False),
    ],
)
def test_the_table_of_roles(rule: RoleRow, user: str, claims: str, *, fits: bool) -> None:
    found = proofs.roles_of([rule], "jwt", Proven(user, frozenset({claims} - {""})))
    assert found == (frozenset({"store"}) if fits else frozenset())


def test_a_user_without_role_name_or_judge_is_nobody(tokens: JwtJudge, ours: Authority) -> None:
    good = token(ours).encode()
    table = (row("jwt", claim="radiographer"),)
    proven, roles = Judges({"jwt": tokens}, table).judge(5, good, b"")
    assert (proven.user, roles) == ("nurse", {"store"})
    for judges, kind in ((Judges({"jwt": tokens}, ()), 5), (Judges({"jwt": tokens}, table), 4),
                         (Judges({}, table), 5), (Judges({"jwt": tokens}, table), 1)):  # fmt: skip
        with pytest.raises(NotAuthenticated):
            judges.judge(kind, good, b"")
    with pytest.raises(NotAuthenticated):
        Judges({"jwt": tokens}, table).judge(5, token(ours, sub="a\nb").encode(), b"")


def test_kerberos_needs_its_keytab(tmp_path: Path) -> None:
    settings = KerberosSettings(keytab_file=str(tmp_path / "absent"), service="dicom/x@Y")
    with pytest.raises(ConfigError):
        kerberos.KerberosJudge(settings, replay_folder=tmp_path)
    assert kerberos.framed(b"\x60rest") == b"\x60rest"
    assert kerberos.framed(b"\x6erest")[:2] == b"\x60\x83"
