"""Merkle tree over an append-only log: roots, proofs of inclusion and of consistency.

A log keeps the hashes of all *complete* subtrees, named by (level, index): level 0 holds the leaf
hashes, node (level, index) covers the 2**level leaves from index * 2**level on. They never change
once written, so a database table or a dict can hold them. Appending needs only the `Frontier`,
O(log n) hashes; every proof reads O(log n) nodes.

Source: RFC 9162 section 2.1 (the same hashes as RFC 6962 section 2.1).
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import ChainBroken, InputError, LimitExceeded

HASH_BYTES: Final = 32
SIZE_MAX: Final = (1 << 63) - 1
PROOF_HASHES_MAX: Final = 64
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

NodeReader = Callable[[int, int], bytes]
"""(level, index) to the hash of a complete subtree of the log."""


@dataclass(frozen=True, slots=True)
class Node:
    """The hash of a complete subtree.

    Attributes:
        level: Log2 of the number of leaves.
        index: Place among the subtrees of this level, from 0.
        digest: 32 bytes.
    """

    level: int
    index: int
    digest: bytes


def leaf_hash(entry: bytes) -> bytes:
    """Hash one log entry (RFC 9162 section 2.1.1, first byte 0x00)."""
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees into one (RFC 9162 section 2.1.1, first byte 0x01)."""
    return hashlib.sha256(b"\1" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """All that is needed to append to a log and to name its root.

    Attributes:
        size: Number of leaves.
        peaks: Hashes of the complete subtrees that make up the tree, largest first; one for each
            bit that is set in `size`.

    Raises:
        InputError: `peaks` do not fit `size`.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        """Check that the state can be one of a log."""
        if not 0 <= self.size <= SIZE_MAX or len(self.peaks) != self.size.bit_count():
            raise InputError("state of the Merkle tree does not fit its size")
        if any(len(peak) != HASH_BYTES for peak in self.peaks):
            raise InputError("a hash of the Merkle tree does not have 32 bytes")

    def append(self, leaf: bytes) -> "tuple[Frontier, tuple[Node, ...]]":
        """Add one leaf.

        Args:
            leaf: Result of `leaf_hash`.

        Returns:
            The new state, and the nodes that became complete, to be stored; the leaf comes first.

        Source: RFC 9162 section 2.1.2.
        """
        peaks, size = list(self.peaks), self.size
        nodes = [Node(0, size, leaf)]
        while size >> nodes[-1].level & 1:
            last = nodes[-1]
            digest = node_hash(peaks.pop(), last.digest)
            nodes.append(Node(last.level + 1, last.index >> 1, digest))
        return Frontier(size + 1, (*peaks, nodes[-1].digest)), tuple(nodes)

    def root(self) -> bytes:
        """Return the tree head, 32 bytes (RFC 9162 section 2.1.1)."""
        return _folded(self.peaks)


def frontier(size: int, *, node: NodeReader) -> Frontier:
    """Return the state that a log had at `size` leaves, read from its stored nodes.

    Raises:
        LimitExceeded: Negative, or above `SIZE_MAX`.
    """
    _check_size(size)
    return Frontier(size, _peaks(0, size, node))


def inclusion_proof(index: int, *, size: int, node: NodeReader) -> tuple[bytes, ...]:
    """Prove that a leaf stands at `index` in the tree of `size` leaves.

    Args:
        index: Leaf, 0 to size - 1.
        size: Number of leaves of the tree whose root the reader holds.
        node: Reads stored nodes.

    Raises:
        InputError: `index` is not in the tree.
        LimitExceeded: Size out of range.

    Source: RFC 9162 section 2.1.3.1.
    """
    _check_size(size)
    if not 0 <= index < size:
        raise InputError("the tree has no such leaf")
    proof: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            proof.append(_range_hash(middle, end, node))
            end = middle
        else:
            proof.append(_range_hash(begin, middle, node))
            begin = middle
    return tuple(reversed(proof))


def consistency_proof(first: int, *, second: int, node: NodeReader) -> tuple[bytes, ...]:
    """Prove that the tree of `second` leaves begins with the tree of `first` leaves.

    Args:
        first: Number of leaves of the older tree, at least 1.
        second: Number of leaves of the newer tree.
        node: Reads stored nodes.

    Raises:
        InputError: `first` is 0 or above `second`.
        LimitExceeded: Size out of range.

    Source: RFC 9162 section 2.1.4.1.
    """
    _check_size(second)
    if not 0 < first <= second:
        raise InputError("a consistency proof goes from an older to a newer tree")
    proof: list[bytes] = []
    begin, end = 0, second
    while end != first:
        middle = begin + _split(end - begin)
        if first <= middle:
            proof.append(_range_hash(middle, end, node))
            end = middle
        else:
            proof.append(_range_hash(begin, middle, node))
            begin = middle
    if begin:  # The reader has the older root itself only if it is a whole left subtree.
        proof.append(_range_hash(begin, end, node))
    return tuple(reversed(proof))


def verify_inclusion(
    leaf: bytes, *, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that a leaf stands in the tree with this root.

    Args:
        leaf: Result of `leaf_hash`.
        index: Where it stands.
        size: Number of leaves of the tree.
        proof: Result of `inclusion_proof`.
        root: Tree head that the reader trusts.

    Raises:
        ChainBroken: The proof does not hold.
        LimitExceeded: Size or proof out of range.

    Source: RFC 9162 section 2.1.3.2.
    """
    _check_size(size)
    _check_proof(proof)
    if not 0 <= index < size:
        raise ChainBroken("the tree has no such leaf")
    place, last, digest = index, size - 1, leaf
    for sibling in proof:
        if not last:
            raise ChainBroken("inclusion proof is too long")
        if place & 1 or place == last:
            digest = node_hash(sibling, digest)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            digest = node_hash(digest, sibling)
        place, last = place >> 1, last >> 1
    if last or digest != root:
        raise ChainBroken("inclusion proof does not lead to the tree head")


def verify_consistency(
    *, first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that nothing of the older tree was changed or removed in the newer one.

    Args:
        first: Number of leaves of the older tree, at least 1.
        first_root: Its head.
        second: Number of leaves of the newer tree.
        second_root: Its head.
        proof: Result of `consistency_proof`.

    Raises:
        ChainBroken: The proof does not hold.
        LimitExceeded: Size or proof out of range.

    Source: RFC 9162 section 2.1.4.2.
    """
    _check_size(second)
    _check_proof(proof)
    if not 0 < first <= second:
        raise ChainBroken("a consistency proof goes from an older to a newer tree")
    if first == second:
        if proof or first_root != second_root:
            raise ChainBroken("two heads of one size differ, or a proof for nothing")
        return
    if not proof:
        raise ChainBroken("consistency proof is empty")
    # An older tree of a power of two is a subtree of the newer one: its head is not repeated.
    path = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    if _replayed(first, second, path) != (first_root, second_root):
        raise ChainBroken("consistency proof does not lead to the two tree heads")


class MemoryNodes:
    """Stored nodes in memory: for tests and short logs. Call it as a `NodeReader`."""

    def __init__(self) -> None:
        self._digests: dict[tuple[int, int], bytes] = {}

    def add(self, nodes: Sequence[Node]) -> None:
        """Keep what `Frontier.append` returned."""
        self._digests.update({(node.level, node.index): node.digest for node in nodes})

    def __call__(self, level: int, index: int) -> bytes:
        """Return a stored node.

        Raises:
            InputError: No such node.
        """
        try:
            return self._digests[level, index]
        except KeyError as error:
            raise InputError(f"no node at level {level}, index {index}") from error


def _replayed(first: int, second: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    # The loop of RFC 9162 section 2.1.4.2, step by step: `low` and `high` are its fn and sn.
    low, high = first - 1, second - 1
    while low & 1:
        low, high = low >> 1, high >> 1
    older = newer = path[0]
    for step in path[1:]:
        if not high:
            raise ChainBroken("consistency proof is too long")
        if low & 1 or low == high:
            older, newer = node_hash(step, older), node_hash(step, newer)
            while not low & 1 and low:
                low, high = low >> 1, high >> 1
        else:
            newer = node_hash(newer, step)
        low, high = low >> 1, high >> 1
    if high:
        raise ChainBroken("consistency proof is too short")
    return older, newer


def _split(count: int) -> int:
    """Return the largest power of two below `count`, which is at least 2."""
    return 1 << (count - 1).bit_length() - 1


def _peaks(begin: int, end: int, node: NodeReader) -> tuple[bytes, ...]:
    found: list[bytes] = []
    while begin < end:
        # `begin` is a multiple of this power of two by construction: largest subtrees come first.
        level = (end - begin).bit_length() - 1
        found.append(node(level, begin >> level))
        begin += 1 << level
    return tuple(found)


def _range_hash(begin: int, end: int, node: NodeReader) -> bytes:
    return _folded(_peaks(begin, end, node))


def _folded(peaks: Sequence[bytes]) -> bytes:
    if not peaks:
        return EMPTY_ROOT
    digest = peaks[-1]
    for peak in reversed(peaks[:-1]):
        digest = node_hash(peak, digest)
    return digest


def _check_size(size: int) -> None:
    if not 0 <= size <= SIZE_MAX:
        raise LimitExceeded("size of a Merkle tree is out of range")


def _check_proof(proof: Sequence[bytes]) -> None:
    if len(proof) > PROOF_HASHES_MAX:
        raise LimitExceeded(f"proof of more than {PROOF_HASHES_MAX} hashes")
    if any(len(digest) != HASH_BYTES for digest in proof):
        raise ChainBroken("a hash in a proof does not have 32 bytes")
