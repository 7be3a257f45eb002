"""Verify an evidence pack offline. One file, Python 3.10 or later, nothing else.

    python3 verify_evidence.py PACK.json TRUST.json [--against OTHER]... [--json]

PACK.json is what a hospital hands over. TRUST.json is *yours*: the public keys of the witnesses,
how many of them must agree, and the approvers' keys; written down when the system was
commissioned, never taken from the pack. OTHER is what somebody kept: an older pack, or the mirror
of a witness (leaf hashes, 32 bytes each). It shows exactly where two differ.

What is checked, each naming the first bad leaf:

1. Every entry in the pack hashes to the leaf of its place (RFC 9162 section 2.1.1).
2. Every cosignature of a witness that you trust is over exactly this log, up to its size.
3. At least `threshold` witnesses vouch for every entry of the pack, and did so recently.
4. No entry says a time that witnesses contradict: it was written back-dated.
5. Documents are what the log names by their SHA-256; authorisations are signed by the approvers.
6. Reports of devices are signed by their origin keys, as far as your file names them.
7. Nothing that OTHER holds is missing or different.

Exit code 0: all of it holds. 1: something does not. 2: a file is not readable.

Formats and every step are described in docs/reference/evidence.md. Source: RFC 9162 section 2.1;
FIPS 186-5 section 6.4.2 (ECDSA); SEC 1 section 4.1.4.
"""

import argparse
import base64
import hashlib
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE_BYTES_MAX = 512 << 20
HASH_BYTES = 32
MAGIC = b"AWT1"
LEAF = "asepsis-audit-1"
PACK_FORMAT = "asepsis-evidence-1"
TRUST_FORMAT = "asepsis-evidence-trust-1"
CLOCKS_NS = 300 * 10**9
"""How far two honest clocks may be apart: five minutes."""
RECENT_NS = 24 * 3_600 * 10**9
"""Witnesses must have signed within this before the pack was made."""
AUTHORISATION = "authorisation"
REPORT = "report-update"

# --- ES256: ECDSA on P-256 with SHA-256, verification only -----------------------------------

P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
GX = 0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296
GY = 0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5
SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
Point = tuple[int, int, int]  # Jacobian; z is 0 for the point at infinity.


def _double(point: Point) -> Point:
    x, y, z = point
    if not y or not z:
        return (0, 1, 0)
    square = y * y % P
    s = 4 * x * square % P
    m = 3 * (x - z * z) * (x + z * z) % P
    out = (m * m - 2 * s) % P
    return out, (m * (s - out) - 8 * square * square) % P, 2 * y * z % P


def _add(one: Point, two: Point) -> Point:
    if not one[2]:
        return two
    if not two[2]:
        return one
    z1, z2 = one[2] * one[2] % P, two[2] * two[2] % P
    u1, u2 = one[0] * z2 % P, two[0] * z1 % P
    s1, s2 = one[1] * two[2] * z2 % P, two[1] * one[2] * z1 % P
    if u1 == u2:
        return _double(one) if s1 == s2 else (0, 1, 0)
    h, r = (u2 - u1) % P, (s2 - s1) % P
    hh = h * h % P
    hhh, v = h * hh % P, u1 * hh % P
    x = (r * r - hhh - 2 * v) % P
    return x, (r * (v - x) - s1 * hhh) % P, one[2] * two[2] * h % P


def _sum(u1: int, u2: int, key: Point) -> Point:
    """Return u1 times the base point plus u2 times the key (Shamir's trick)."""
    base: Point = (GX, GY, 1)
    both, found = _add(base, key), (0, 1, 0)
    for bit in reversed(range(256)):
        found = _double(found)
        one, two = u1 >> bit & 1, u2 >> bit & 1
        if one or two:
            found = _add(found, both if one and two else base if one else key)
    return found


def signed_by(spki: bytes, raw: bytes, message: bytes) -> bool:
    """Say whether the key (SubjectPublicKeyInfo, P-256) made the signature (r and s, 64 bytes)."""
    if len(spki) != len(SPKI) + 64 or not spki.startswith(SPKI) or len(raw) != 64:
        return False
    x, y = int.from_bytes(spki[-64:-32], "big"), int.from_bytes(spki[-32:], "big")
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    on_curve = x < P and y < P and (y * y - x * x * x + 3 * x - B) % P == 0
    if not (on_curve and 0 < r < N and 0 < s < N):
        return False
    digest = int.from_bytes(hashlib.sha256(message).digest(), "big")
    inverse = pow(s, -1, N)
    found = _sum(digest * inverse % N, r * inverse % N, (x, y, 1))
    return bool(found[2]) and found[0] * pow(found[2], -2, P) % P % N == r


def raw_signature(der: bytes) -> bytes:
    """Return r and s of a DER signature (RFC 3279 section 2.2.3); empty if it is none."""
    try:
        if der[0] != 0x30 or der[1] != len(der) - 2:
            return b""
        end = 4 + der[3]
        r, s = der[4:end], der[end + 2 :]
        if der[2] != 2 or der[end] != 2 or der[end + 1] != len(s):
            return b""
        return b"".join(int.from_bytes(one, "big").to_bytes(32, "big") for one in (r, s))
    except (IndexError, OverflowError):
        return b""


# --- The Merkle tree of RFC 9162 --------------------------------------------------------------


def leaf_of(entry: dict[str, Any]) -> bytes:
    """Return the leaf hash of an entry as it stands in a pack."""
    salted = bytes.fromhex(entry["salt"]) + entry["detail"].encode()
    fields = [LEAF, *(entry[name] for name in ("index", "at_ns", "actor", "action", "subject"))]
    fields += [entry["outcome"], hashlib.sha256(salted).hexdigest()]
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(b"\0" + text.encode()).digest()


def roots_at(leaves: list[bytes], sizes: set[int]) -> dict[int, bytes]:
    """Return the root of the first n leaves for every n of `sizes`."""
    peaks: list[tuple[int, bytes]] = []
    found: dict[int, bytes] = {}
    for size, leaf in enumerate(leaves, start=1):
        level, digest = 0, leaf
        while peaks and peaks[-1][0] == level:
            digest = hashlib.sha256(b"\1" + peaks.pop()[1] + digest).digest()
            level += 1
        peaks.append((level, digest))
        if size in sizes:
            root = peaks[-1][1]
            for _, peak in reversed(peaks[:-1]):
                root = hashlib.sha256(b"\1" + peak + root).digest()
            found[size] = root
    return found


# --- The checks -------------------------------------------------------------------------------

Finding = tuple[int, str]  # First bad leaf, and what is wrong with it.


class Pack:
    """A pack as read from a file.

    Args:
        document: Its JSON.

    Raises:
        ValueError: Not a pack.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        if document.get("format") != PACK_FORMAT:
            raise ValueError("not an evidence pack of this format")
        self.document = document
        blob = base64.b64decode(document["leaves"], validate=True)
        if len(blob) % HASH_BYTES or len(blob) // HASH_BYTES != document["size"]:
            raise ValueError("the leaves do not fit the size")
        self.leaves = [blob[at : at + HASH_BYTES] for at in range(0, len(blob), HASH_BYTES)]
        self.size: int = document["size"]
        self.made_ns: int = document["made_at_ns"]
        self.entries: list[dict[str, Any]] = document["entries"]
        self.cosignatures: list[dict[str, Any]] = document["cosignatures"]
        self.documents: list[dict[str, Any]] = document["documents"]


def check_entries(pack: Pack) -> Iterator[Finding]:
    """Every entry is the one that the log holds at its place."""
    for entry in pack.entries:
        index = entry["index"]
        if not 0 <= index < pack.size:
            yield pack.size, f"the log ends before entry {index}"
        elif leaf_of(entry) != pack.leaves[index]:
            yield index, "the entry is not the one that stands in the log"


def trusted_cosignatures(pack: Pack, trust: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the cosignatures whose signature holds under a key of the reader, by size."""
    keys = {one["name"]: bytes.fromhex(one["key"]) for one in trust["witnesses"]}
    if len(set(keys.values())) != len(trust["witnesses"]):
        raise ValueError("two witnesses of the trust file are one")
    found: list[dict[str, Any]] = []
    for given in pack.cosignatures:
        key = keys.get(given["witness"])
        if key is None or not 0 < given["size"] < 1 << 63 or not 0 <= given["at_ns"] < 1 << 63:
            continue
        root = bytes.fromhex(given["root"])
        statement = struct.pack(">4sQQ32s", MAGIC, given["size"], given["at_ns"], root)
        if len(root) == HASH_BYTES and signed_by(key, bytes.fromhex(given["signature"]), statement):
            found.append(given)
    return sorted(found, key=lambda one: (one["size"], one["at_ns"]))


def check_cosignatures(
    pack: Pack, given: list[dict[str, Any]], roots: dict[int, bytes]
) -> Iterator[Finding]:
    """Nothing that a witness signed contradicts the log; names where they part."""
    good: dict[str, int] = {}
    bad: set[str] = set()
    for one in given:
        name, size = one["witness"], one["size"]
        if name in bad:
            continue
        if size > pack.size:
            yield pack.size, f"the log was cut: witness {name} signed {size} entries"
            bad.add(name)
        elif roots[size].hex() != one["root"]:
            # Between the last head that fits and the first that does not.
            first = max(good.values(), default=0)
            yield first, f"an entry from here to {size - 1} was changed: witness {name} saw others"
            bad.add(name)
        else:
            good[name] = size


def vouched(
    pack: Pack, given: list[dict[str, Any]], roots: dict[int, bytes], threshold: int
) -> tuple[int, int]:
    """Return how many entries `threshold` witnesses vouch for, and since when at the latest."""
    best: dict[str, tuple[int, int]] = {}
    for one in given:
        if one["size"] <= pack.size and roots[one["size"]].hex() == one["root"]:
            best[one["witness"]] = (one["size"], one["at_ns"])
    if len(best) < threshold:
        return 0, 0
    size = sorted((size for size, _ in best.values()), reverse=True)[threshold - 1]
    at_ns = sorted((at_ns for _, at_ns in best.values()), reverse=True)[threshold - 1]
    return size, at_ns


def check_vouched(pack: Pack, size: int, at_ns: int) -> Iterator[Finding]:
    """Enough witnesses stand behind every entry, and they looked lately."""
    beyond = [entry["index"] for entry in pack.entries if entry["index"] >= size]
    if beyond or not size:
        yield size, "too few witnesses vouch for the log from here on"
    elif pack.made_ns - at_ns > RECENT_NS:
        yield size, "witnesses had not signed for over a day: the log may go on from here"


def check_times(
    pack: Pack, given: list[dict[str, Any]], roots: dict[int, bytes]
) -> Iterator[Finding]:
    """No entry claims a time before a head that was signed without it, or after one with it."""
    fitting = [
        one for one in given if one["size"] <= pack.size and roots[one["size"]].hex() == one["root"]
    ]
    for entry in pack.entries:
        before = [one["at_ns"] for one in fitting if one["size"] <= entry["index"]]
        after = [one["at_ns"] for one in fitting if one["size"] > entry["index"]]
        if before and entry["at_ns"] < max(before) - CLOCKS_NS:
            yield entry["index"], "back-dated: a witness signed the log without it after its time"
        elif after and entry["at_ns"] > min(after) + CLOCKS_NS:
            yield entry["index"], "post-dated: a witness had signed it before its time"


def approvers_of(document: dict[str, Any], trust: dict[str, Any]) -> dict[str, list[str]]:
    """Return party -> names of its approvers whose signatures over an authorisation hold."""
    signed = json.dumps(
        document["signed"], sort_keys=True, ensure_ascii=False, separators=(",", ":")
    )
    values = [raw_signature(bytes.fromhex(one["sig"])) for one in document["signatures"]]
    found: dict[str, list[str]] = {}
    for who in trust.get("approvers", []):
        key = bytes.fromhex(who["key"])
        if any(signed_by(key, value, signed.encode()) for value in values):
            found.setdefault(who["party"], []).append(who["name"])
    return found


def check_documents(pack: Pack, trust: dict[str, Any]) -> Iterator[Finding]:
    """Documents are what the log names; an authorisation is signed by both parties."""
    texts = [(entry["index"], entry["subject"] + entry["detail"]) for entry in pack.entries]
    wanted = {who["party"] for who in trust.get("approvers", [])}
    for one in pack.documents:
        content = base64.b64decode(one["content"], validate=True)
        sha256 = hashlib.sha256(content).hexdigest()
        named = [index for index, text in texts if sha256 in text]
        if sha256 != one["sha256"] or not named:
            yield pack.size, f"document {one['name']} is not named by any entry of the pack"
        elif one["kind"] == AUTHORISATION and wanted:
            missing = wanted - approvers_of(json.loads(content), trust).keys()
            if missing:
                yield named[0], f"{one['name']}: no approver of {', '.join(sorted(missing))} signed"


def check_receipts(pack: Pack, trust: dict[str, Any]) -> Iterator[Finding]:
    """Reports of updates are what the devices themselves signed (ES256, the last 64 bytes)."""
    keys = {one["name"]: bytes.fromhex(one["key"]) for one in trust.get("devices", [])}
    for entry in pack.entries:
        key = keys.get(entry["subject"])
        if entry["action"] != REPORT or key is None:
            continue
        receipt = base64.b64decode(json.loads(entry["detail"])["receipt"], validate=True)
        if not signed_by(key, receipt[-64:], receipt[:-64]):
            yield entry["index"], f"the report is not signed by {entry['subject']}"


def check_against(pack: Pack, other: list[bytes], name: str) -> Iterator[Finding]:
    """Everything that somebody kept is still there."""
    for index, leaf in enumerate(other):
        if index >= pack.size:
            yield index, f"the log was cut: {name} has {len(other)} entries"
            return
        if leaf != pack.leaves[index]:
            yield index, f"the entry is another one than in {name}"
            return


def verify(
    pack: Pack, trust: dict[str, Any], others: dict[str, list[bytes]] | None = None
) -> dict[str, Any]:
    """Return what was found: `ok`, `findings` by leaf, and how many entries are vouched for.

    Raises:
        ValueError: The trust file makes no sense.
    """
    threshold = trust["threshold"]
    if trust.get("format") != TRUST_FORMAT or not 1 <= threshold <= len(trust["witnesses"]):
        raise ValueError("not a trust file, or a threshold that cannot be reached")
    given = trusted_cosignatures(pack, trust)
    roots = roots_at(pack.leaves, {one["size"] for one in given})
    size, at_ns = vouched(pack, given, roots, threshold)
    findings = [
        *check_entries(pack),
        *check_cosignatures(pack, given, roots),
        *check_vouched(pack, size, at_ns),
        *check_times(pack, given, roots),
        *check_documents(pack, trust),
        *check_receipts(pack, trust),
    ]
    for name, leaves in (others or {}).items():
        findings += check_against(pack, leaves, name)
    findings.sort(key=lambda one: one[0])
    return {
        "ok": not findings,
        "first_bad_leaf": findings[0][0] if findings else None,
        "findings": [{"leaf": leaf, "what": what} for leaf, what in findings],
        "size": pack.size,
        "vouched": size,
        "vouched_at_ns": at_ns,
        "witnesses": sorted({one["witness"] for one in given}),
        "entries": len(pack.entries),
    }


# --- Files ------------------------------------------------------------------------------------


def read(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        ValueError: Longer than `FILE_BYTES_MAX`.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        raise ValueError(f"{path} is too long")
    return content


def kept_leaves(content: bytes) -> list[bytes]:
    """Return the leaves of a pack, or of a mirror: hashes one after the other."""
    if content[:1] == b"{":
        return Pack(json.loads(content)).leaves
    if len(content) % HASH_BYTES:
        raise ValueError("a mirror is hashes of 32 bytes")
    return [content[at : at + HASH_BYTES] for at in range(0, len(content), HASH_BYTES)]


def main(arguments: list[str] | None = None) -> int:
    """Verify; returns the exit code."""
    parser = argparse.ArgumentParser(description="Verify an evidence pack, offline.")
    parser.add_argument("pack", type=Path, help="what was handed over")
    parser.add_argument("trust", type=Path, help="your own keys and threshold")
    parser.add_argument("--against", type=Path, action="append", default=[], help="what was kept")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args(arguments)
    try:
        pack, trust = Pack(json.loads(read(options.pack))), json.loads(read(options.trust))
        others = {str(path): kept_leaves(read(path)) for path in options.against}
        found = verify(pack, trust, others)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        sys.stderr.write(f"cannot be read: {error!r}\n")
        return 2
    if options.json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return 0 if found["ok"] else 1
    for one in found["findings"]:
        sys.stdout.write(f"leaf {one['leaf']}: {one['what']}\n")
    verdict = "holds" if found["ok"] else "DOES NOT HOLD"
    sys.stdout.write(
        f"{verdict}: {found['entries']} entries; {found['vouched']} of {found['size']} leaves are "
        f"vouched for by {trust['threshold']} of {len(trust['witnesses'])} witnesses\n"
    )
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
