"""Goal: the audit log's tree is the one of RFC 9162, and no false proof passes."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asepsis.core.errors import ChainBroken, InputError, LimitExceeded
from asepsis.core.trust import merkle
from asepsis.core.trust.merkle import Frontier, MemoryNodes

# Leaves, roots and proofs of the Certificate Transparency reference implementation
# (merkle_tree_test.cc, also transparency-dev/merkle testonly): facts, retyped.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    bytes.fromhex(text)
    for text in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}
INCLUSION = {
    (0, 8): CONSISTENCY[1, 8],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}

sizes = st.integers(min_value=1, max_value=130)


def grown(entries: list[bytes]) -> tuple[list[Frontier], MemoryNodes]:
    states, nodes = [Frontier()], MemoryNodes()
    for entry in entries:
        state, complete = states[-1].append(merkle.leaf_hash(entry))
        states.append(state)
        nodes.add(complete)
    return states, nodes


def entries_of(size: int) -> list[bytes]:
    return [number.to_bytes(2, "big") for number in range(size)]


def mth(leaves: list[bytes]) -> bytes:
    """The definition in RFC 9162 section 2.1.1, taken literally."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\1" + mth(leaves[:split]) + mth(leaves[split:])).digest()


def test_roots_are_those_of_certificate_transparency() -> None:
    states, _ = grown(LEAVES)
    assert [state.root() for state in states] == ROOTS


@pytest.mark.parametrize(("first", "second"), CONSISTENCY)
def test_known_consistency_proofs(first: int, second: int) -> None:
    _, nodes = grown(LEAVES)
    proof = merkle.consistency_proof(first, second=second, node=nodes)
    assert [digest.hex() for digest in proof] == CONSISTENCY[first, second]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_known_inclusion_proofs(index: int, size: int) -> None:
    _, nodes = grown(LEAVES)
    proof = merkle.inclusion_proof(index, size=size, node=nodes)
    assert [digest.hex() for digest in proof] == INCLUSION[index, size]


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_root_is_the_definition(entries: list[bytes]) -> None:
    states, nodes = grown(entries)
    assert states[-1].root() == mth(entries)
    assert merkle.frontier(len(entries), node=nodes) == states[-1]


@settings(deadline=None)
@given(sizes, st.data())
def test_every_inclusion_proof_verifies_and_no_changed_one(size: int, data: st.DataObject) -> None:
    states, nodes = grown(entries_of(size))
    index = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index, size=size, node=nodes)
    leaf, root = merkle.leaf_hash(entries_of(size)[index]), states[size].root()
    merkle.verify_inclusion(leaf, index=index, size=size, proof=proof, root=root)
    for changed in falsified(proof, data):
        with pytest.raises(ChainBroken):
            merkle.verify_inclusion(leaf, index=index, size=size, proof=changed, root=root)
    with pytest.raises(ChainBroken):
        merkle.verify_inclusion(bytes(32), index=index, size=size, proof=proof, root=root)
    if size > 1:
        other = data.draw(st.integers(0, size - 1).filter(lambda i: i != index))
        with pytest.raises(ChainBroken):
            merkle.verify_inclusion(leaf, index=other, size=size, proof=proof, root=root)


@settings(deadline=None)
@given(sizes, st.data())
def test_every_consistency_proof_verifies_and_no_changed_one(
    second: int, data: st.DataObject
) -> None:
    states, nodes = grown(entries_of(second))
    first = data.draw(st.integers(1, second))
    proof = merkle.consistency_proof(first, second=second, node=nodes)
    heads = {"first_root": states[first].root(), "second_root": states[second].root()}
    merkle.verify_consistency(first=first, second=second, proof=proof, **heads)
    for changed in falsified(proof, data):
        with pytest.raises(ChainBroken):
            merkle.verify_consistency(first=first, second=second, proof=changed, **heads)
    for which in heads:
        with pytest.raises(ChainBroken):
            merkle.verify_consistency(
                first=first, second=second, proof=proof, **{**heads, which: bytes(32)}
            )


def falsified(proof: tuple[bytes, ...], data: st.DataObject) -> list[list[bytes]]:
    changed = [[*proof, bytes(32)], [bytes(32), *proof]]
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        flipped = bytes([proof[at][0] ^ 1]) + proof[at][1:]
        changed += [list(proof[:-1]), list(proof[1:]), [*proof[:at], flipped, *proof[at + 1 :]]]
    return changed


def test_rewritten_history_is_found() -> None:
    """Goal: the reason for the log; an entry changed after the fact cannot be proven away."""
    honest, _ = grown(entries_of(5))
    forged, nodes = grown([b"forged", *entries_of(9)[1:]])
    with pytest.raises(ChainBroken):
        merkle.verify_consistency(
            first=5,
            first_root=honest[5].root(),
            second=9,
            second_root=forged[9].root(),
            proof=merkle.consistency_proof(5, second=9, node=nodes),
        )


def test_questions_outside_the_tree_are_refused() -> None:
    nodes = MemoryNodes()
    with pytest.raises(InputError):
        merkle.inclusion_proof(3, size=3, node=nodes)
    with pytest.raises(InputError):
        merkle.consistency_proof(0, second=3, node=nodes)
    with pytest.raises(InputError):
        nodes(0, 0)
    with pytest.raises(LimitExceeded):
        merkle.frontier(-1, node=nodes)
    for first in (0, 4):
        with pytest.raises(ChainBroken):
            merkle.verify_consistency(
                first=first, first_root=ROOTS[1], second=3, second_root=ROOTS[3], proof=[ROOTS[1]]
            )
    with pytest.raises(ChainBroken):
        merkle.verify_inclusion(ROOTS[1], index=1, size=1, proof=(), root=ROOTS[1])


def test_proofs_of_the_wrong_length_are_refused() -> None:
    states, nodes = grown(entries_of(8))
    heads = {"first_root": states[3].root(), "second_root": states[8].root()}
    proof = merkle.consistency_proof(3, second=8, node=nodes)
    for wrong in ((), proof[:-1], (*proof, bytes(32))):
        with pytest.raises(ChainBroken):
            merkle.verify_consistency(first=3, second=8, proof=wrong, **heads)
    with pytest.raises(ChainBroken):
        merkle.verify_consistency(
            first=8, first_root=ROOTS[1], second=8, second_root=ROOTS[2], proof=()
        )


def test_proofs_are_bounded() -> None:
    with pytest.raises(LimitExceeded):
        merkle.verify_inclusion(
            bytes(32), index=0, size=merkle.SIZE_MAX, proof=[bytes(32)] * 65, root=bytes(32)
        )
    with pytest.raises(ChainBroken):
        merkle.verify_inclusion(bytes(32), index=0, size=2, proof=[b"short"], root=bytes(32))


@pytest.mark.parametrize(
    ("size", "peaks"), [(-1, ()), (1, ()), (2, (bytes(32), bytes(32))), (1, (b"short",))]
)
def test_impossible_states_are_refused(size: int, peaks: tuple[bytes, ...]) -> None:
    with pytest.raises(InputError):
        Frontier(size, peaks)
