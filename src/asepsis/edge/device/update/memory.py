"""What the update agent keeps over a power cut: the update in hand, what became of others, debt.

One file, written aside, flushed and renamed over the old one before anything is done that it says.
A damaged file is no reason to stop measuring: nothing is installed until a person has looked.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, cast

from asepsis.core.errors import Conflict, FramingError, InputError, TransientError
from asepsis.core.model.update import NEXT, TESTS_MAX, TEXT_CHARS_MAX, Outcome, TestResult, WaitsFor
from asepsis.edge.sandbox.supervision_disk import Disk

NAME: Final = "update.json"
ASIDE: Final = "update.json.new"
BYTES_MAX: Final = 65_536
FORMAT: Final = 1
ENDED_MAX: Final = 64
DEBTS_MAX: Final = 32
FINGERPRINT_MAX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is to be installed, as the verifier accepted it.

    Attributes:
        release: SHA-256 of the artefact, hexadecimal.
        path: Its target path.
        component: Compartment that it replaces.
        version: Version, as a folder's name.
        counter: The release's own counter.
        floor: Below which nothing comes again once it is verified.
        reboot: What has to start anew: `none`, `component` or `device`.
    """

    release: str
    path: str
    component: str
    version: str
    counter: int
    floor: int
    reboot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The update in hand.

    Attributes:
        target: What.
        outcome: How far.
        waits_for: With `WAITING`, why.
        reason: For people.
        tests: Self-tests, from `SELF_TESTED` on.
        before: Fingerprint before the installation: SHA-256 by name of what must not change.
    """

    target: Target
    outcome: Outcome = Outcome.OFFERED
    waits_for: WaitsFor | None = None
    reason: str = ""
    tests: tuple[TestResult, ...] = ()
    before: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def over(self) -> bool:
        """Whether it is decided: verified, or never to be."""
        return self.outcome in OVER

    def to(self, outcome: Outcome, **changes: Any) -> "Held":
        """Return the next state.

        Raises:
            Conflict: The table of outcomes does not allow it.
        """
        if outcome not in NEXT[self.outcome]:
            raise Conflict(f"{self.outcome.value} is not followed by {outcome.value}")
        reason = str(changes.pop("reason", ""))[:TEXT_CHARS_MAX]
        waits_for = changes.pop("waits_for", None)
        return replace(self, outcome=outcome, waits_for=waits_for, reason=reason, **changes)


OVER: Final = frozenset(
    {
        Outcome.VERIFIED,
        Outcome.AWAITING_ACCEPTANCE,
        Outcome.ROLLED_BACK,
        Outcome.REFUSED,
        Outcome.WITHDRAWN,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Debt:
    """What runs only after the next start of the device.

    Attributes:
        component: What waits.
        version: Which version of it.
        boot: Boot in which it was installed.
    """

    component: str
    version: str
    boot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """All of it.

    Attributes:
        number: How often it was written, from 0.
        held: The update in hand; None for none.
        ended: What became of others, by release; forgotten once the director takes them back.
        debts: What waits for a start of the device.
        out_of_service: Who took the device out of service; "" while it is in service.
    """

    number: int = 0
    held: Held | None = None
    ended: Mapping[str, Outcome] = field(default_factory=dict[str, Outcome])
    debts: tuple[Debt, ...] = ()
    out_of_service: str = ""


def encode(memory: Memory) -> bytes:
    """Return the file's content: a line of JSON and a line with its SHA-256."""
    document = {"format": FORMAT, **asdict(memory)}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), default=dict).encode()
    return text + b"\n" + hashlib.sha256(text).hexdigest().encode() + b"\n"


def decode(data: bytes) -> Memory:
    """Read what `encode` wrote.

    Raises:
        FramingError: Anything else, whole or not.
    """
    text, _, rest = data.partition(b"\n")
    if len(data) > BYTES_MAX or rest != hashlib.sha256(text).hexdigest().encode() + b"\n":
        raise FramingError("the memory of updates is damaged")
    try:
        return _read(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, InputError) as error:
        raise FramingError("the memory of updates has another form") from error


def _read(document: dict[str, Any]) -> Memory:
    if document.pop("format") != FORMAT:
        raise FramingError("the memory of updates is of another format")
    held = document.pop("held")
    ended = cast("dict[str, str]", document.pop("ended"))
    debts = cast("list[dict[str, Any]]", document.pop("debts"))
    if len(ended) > ENDED_MAX or len(debts) > DEBTS_MAX:
        raise FramingError("the memory of updates is too long")
    return Memory(
        held=None if held is None else _read_held(held),
        ended={name: Outcome(value) for name, value in ended.items()},
        debts=tuple(Debt(**one) for one in debts),
        **document,
    )


def _read_held(document: dict[str, Any]) -> Held:
    tests = cast("list[dict[str, Any]]", document["tests"])
    before = cast("dict[str, str]", document["before"])
    if len(tests) > TESTS_MAX or len(before) > FINGERPRINT_MAX:
        raise FramingError("the memory of updates is too long")
    waits_for = document["waits_for"]
    return Held(
        target=Target(**document["target"]),
        outcome=Outcome(document["outcome"]),
        waits_for=None if waits_for is None else WaitsFor(waits_for),
        reason=str(document["reason"]),
        tests=tuple(TestResult(**one) for one in tests),
        before=before,
    )


class MemoryStore:
    """Keeps the memory in one file.

    Args:
        disk: Where.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def load(self) -> Memory:
        """Return what is kept; what was never written is empty.

        Raises:
            FramingError: The file is damaged.
            TransientError: The disk does not let it be read.
        """
        try:
            data = self._disk.read(NAME, BYTES_MAX + 1)
        except OSError as error:
            raise TransientError(f"cannot read {NAME}: {error.strerror}") from error
        return Memory() if data is None else decode(data)

    def save(self, memory: Memory) -> Memory:
        """Make a memory durable; returns it with its number.

        Raises:
            TransientError: The disk refuses, for example because it is full; the old memory holds,
                or, where only the last flush failed, the old or the new one.
        """
        memory = replace(memory, number=memory.number + 1)
        try:
            self._disk.write(ASIDE, encode(memory))
            self._disk.flush(ASIDE)
            self._disk.rename(ASIDE, NAME)
            self._disk.flush_names()
        except OSError as error:
            raise TransientError(f"cannot write {NAME}: {error.strerror}") from error
        return memory
