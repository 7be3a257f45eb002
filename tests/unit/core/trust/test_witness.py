"""A witness signs only what grew out of everything that it signed before."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import (
    AsepsisError,
    ChainBroken,
    FramingError,
    IdentityInvalid,
    SignatureInvalid,
)
from asepsis.core.trust import libcrypto, merkle, witness
from asepsis.core.trust.identity import EKU_AUDIT
from asepsis.core.trust.merkle import Frontier, MemoryNodes
from asepsis.core.trust.statements import tree_head_statement
from asepsis.core.trust.witness import Head, Offered, Seen

KEY = libcrypto.generate_key()
NOW_NS = 1_800_000_000_000_000_000


def grown(entries: list[bytes]) -> tuple[list[Frontier], MemoryNodes]:
    states, nodes = [Frontier()], MemoryNodes()
    for entry in entries:
        state, complete = states[-1].append(merkle.leaf_hash(entry))
        nodes.add(complete)
        states.append(state)
    return states, nodes


def head(state: Frontier, *, key: libcrypto.PrivateKey = KEY) -> Head:
    statement = tree_head_statement(size=state.size, root=state.root(), timestamp_ns=NOW_NS)
    return Head(size=state.size, root=state.root(), at_ns=NOW_NS, signature=key.sign(statement))


def accepted(seen: Seen | None, offered: Offered) -> Seen:
    """Follow as `witness.follow` does, with the key instead of its certificate."""
    witness.verify_head(offered.head, spki_der=KEY.spki_der)
    return witness.grown(seen, offered)


HONEST = [b"%d" % number for number in range(24)]
REWRITTEN = [*HONEST[:5], b"another", *HONEST[6:]]


@pytest.mark.parametrize("first", range(1, 24))
def test_a_longer_log_is_followed(first: int) -> None:
    states, nodes = grown(HONEST)
    seen = accepted(None, Offered(head=head(states[first]), proof=(), chain_der=()))
    proof = merkle.consistency_proof(first, second=24, node=nodes)
    found = accepted(seen, Offered(head=head(states[24]), proof=proof, chain_der=()))
    assert found == Seen(24, states[24].root())


@pytest.mark.parametrize("first", range(6, 24))
def test_a_rewritten_log_is_not(first: int) -> None:
    seen = Seen(first, grown(HONEST)[0][first].root())
    states, nodes = grown(REWRITTEN)
    proof = merkle.consistency_proof(first, second=24, node=nodes)
    with pytest.raises(ChainBroken):
        accepted(seen, Offered(head=head(states[24]), proof=proof, chain_der=()))
    with pytest.raises(ChainBroken):
        accepted(seen, Offered(head=head(states[first]), proof=(), chain_der=()))


def test_a_shorter_log_is_not() -> None:
    states, _ = grown(HONEST)
    with pytest.raises(ChainBroken, match="now shows 9"):
        accepted(Seen(10, states[10].root()), Offered(head=head(states[9]), proof=(), chain_der=()))


def test_a_head_of_another_key_is_not() -> None:
    states, _ = grown(HONEST)
    with pytest.raises(SignatureInvalid):
        witness.verify_head(head(states[3], key=libcrypto.generate_key()), spki_der=KEY.spki_der)


def test_without_a_certificate_nothing_is_followed() -> None:
    states, _ = grown(HONEST)
    with pytest.raises(IdentityInvalid):
        witness.follow(
            None, Offered(head=head(states[3]), proof=(), chain_der=()), root_der=b"root"
        )


def test_the_usage_is_that_of_the_audit_key() -> None:
    assert EKU_AUDIT.dotted_string == witness.AUDIT_USAGE


def test_a_cosignature_is_of_one_witness_and_one_head() -> None:
    states, _ = grown(HONEST)
    signed = witness.cosign(KEY, Seen(7, states[7].root()), at_ns=NOW_NS)
    witness.verify_cosignature(signed, spki_der=KEY.spki_der)
    for changed in (
        witness.CoSignature(size=8, root=signed.root, at_ns=NOW_NS, signature=signed.signature),
        witness.CoSignature(size=7, root=bytes(32), at_ns=NOW_NS, signature=signed.signature),
        witness.CoSignature(size=7, root=signed.root, at_ns=1, signature=signed.signature),
    ):
        with pytest.raises(SignatureInvalid):
            witness.verify_cosignature(changed, spki_der=KEY.spki_der)
    with pytest.raises(SignatureInvalid):
        witness.verify_cosignature(signed, spki_der=libcrypto.generate_key().spki_der)
    # A head's signature is none of a witness, though the fields are the same.
    spoken = head(states[7])
    with pytest.raises(SignatureInvalid):
        witness.verify_cosignature(
            witness.CoSignature(size=7, root=spoken.root, at_ns=NOW_NS, signature=spoken.signature),
            spki_der=KEY.spki_der,
        )


def test_the_answer_of_a_hub_is_read() -> None:
    spoken = head(grown(HONEST)[0][7])
    body = {
        "head": {
            "size": 7,
            "root": spoken.root.hex(),
            "at_ns": NOW_NS,
            "signature": spoken.signature.hex(),
        },
        "proof": [bytes(32).hex()],
        "chain": [base64.b64encode(b"der").decode()],
    }
    found = witness.read_offered(json.dumps(body).encode())
    assert found == Offered(head=spoken, proof=(bytes(32),), chain_der=(b"der",))
    for bad in (
        {**body, "head": {**body["head"], "size": 0}},  # type: ignore[dict-item]
        {**body, "head": {**body["head"], "signature": "00"}},  # type: ignore[dict-item]
        {**body, "chain": ["a"] * 9},
        {**body, "proof": [bytes(32).hex()] * 65},
        {},
        [],
    ):
        with pytest.raises(AsepsisError):
            witness.read_offered(json.dumps(bad).encode())


@given(st.binary(max_size=400))
def test_strange_answers_are_framing_errors(body: bytes) -> None:
    with pytest.raises(FramingError):
        witness.read_offered(body)
