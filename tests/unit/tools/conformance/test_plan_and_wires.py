"""Plans that a person wrote, and what a cable reads of a ClientHello."""

import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import ConfigError, FramingError
from asepsis.tools.conformance.own_device import translated
from asepsis.tools.conformance.plan import ROLES, read_plan
from asepsis.tools.conformance.wires import EARLY_DATA, hello_facts

HEAD = 'host = "hub"\nclinical = 1\nenrolment = 2\npeople = 3\nlegacy = "urn:dev:mac:00"\n'


def plan(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "plan.toml"
    file.write_text(text, "utf-8")
    return file


def whole() -> str:
    return HEAD + "".join(f'[identities.{r}]\nname = "{r}"\ntoken = "t"\n' for r in ROLES)


def test_a_plan_is_read(tmp_path: Path) -> None:
    found = read_plan(plan(tmp_path, 'admin_token_file = "a"\n' + whole()))
    assert found.identities["gateway"].name == "gateway"
    assert found.admin_token_file == str(tmp_path / "a")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (HEAD, "identities"),
        (HEAD + '[identities.signing]\nname = "n"\ntoken = "t"\n', "gateway"),
        (whole() + '[identities.spy]\nname = "n"\ntoken = "t"\n', "spy"),
        (whole().replace("clinical = 1", "clinical = 70000"), "clinical"),
        ("surprise = 1\n" + whole(), "surprise"),
        ("host = [", "plan.toml"),
    ],
)
def test_a_wrong_plan_is_refused(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_plan(plan(tmp_path, text))
    assert named in f"{refused.value} {refused.value.hint}"


def hello(context: ssl.SSLContext) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="hub.example")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def test_a_real_client_hello_is_read() -> None:
    versions, extensions, compressions = hello_facts(hello(ssl.create_default_context()))
    assert 0x0304 in versions
    assert EARLY_DATA not in extensions
    assert compressions == b"\0"
    only = ssl.create_default_context()
    only.maximum_version = ssl.TLSVersion.TLSv1_2
    assert max(hello_facts(hello(only))[0]) == 0x0303


@given(st.binary(max_size=300))
def test_anything_else_is_refused_or_read(data: bytes) -> None:
    try:
        hello_facts(data)
    except FramingError:
        return


def test_our_own_device_takes_the_words_of_the_contract() -> None:
    words = ["enrol", "--name", "urn:x", "--hub", "h", "--folder", "f"]
    assert translated(words) == ["enrol", "device", "urn:x", "--hub", "h", "--folder", "f"]
    assert translated(["run", "--folder", "f"]) == ["device", "run", "--folder", "f"]
    assert translated(["sing"]) == []
