"""Two gateways, a hub and networks that fail, on three clocks: never do two take messages."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from asepsis.edge.gateway.pair.member import MARGIN_NS, PROMISE_NS, Member, Part
from asepsis.hub.registry.delegations.pairs import LEASE_MS, PairBook

ONE, TWO = "urn:uuid:1", "urn:uuid:2"
MS = 1_000_000
STEP_NS = 200 * MS
UNHEARD_NS = 1_500 * MS


@dataclass
class Side:
    """A gateway with a clock of its own, and what it last heard of the hub."""

    name: str
    partner: str
    drift: float
    offset_ns: int
    member: Member = field(default_factory=Member)
    reached_ns: int = -(10**15)

    def clock(self, true_ns: int) -> int:
        return self.offset_ns + int(true_ns * self.drift)

    def active(self, true_ns: int) -> bool:
        return self.member.part(self.clock(true_ns)) is Part.ACTIVE


class World:
    """The hub and both sides; what is cut off hears nothing."""

    def __init__(self, drifts: tuple[float, float, float]) -> None:
        self.true_ns = 10**12
        self.book = PairBook(lambda: int(self.true_ns * drifts[0]), paired=lambda _a, _b: True)
        self.sides = (
            Side(ONE, TWO, drifts[1], 7 * 10**9),
            Side(TWO, ONE, drifts[2], 9 * 10**12),
        )
        self.token, self.holder = 0, ""

    def ask_hub(self, side: Side, sent_ns: int, *, answered: bool) -> None:
        """Let one side ask; the answer may be lost after the hub has acted on it."""
        now_ns = side.clock(self.true_ns)
        if side.member.may_ask(now_ns):
            grant = self.book.ask(side.name, side.partner, token=side.member.token)
            if grant is None:
                token = self.book.next_token(side.name, side.partner)
                grant = self.book.give(side.name, side.partner, token)
                assert token > self.token
                self.token, self.holder = token, side.name
            if answered and grant.granted:
                side.member.granted(grant.token, grant.left_ms, sent_ns=sent_ns, now_ns=now_ns)
            elif answered:
                side.member.refused()
        if answered:
            side.reached_ns = now_ns

    def ask_partner(self, side: Side, other: Side, sent_ns: int, *, answered: bool) -> None:
        now_ns = other.clock(self.true_ns)
        away = now_ns - other.reached_ns > UNHEARD_NS
        if away and other.member.promise(now_ns) and answered:
            side.member.promised(sent_ns=sent_ns, now_ns=side.clock(self.true_ns))


STEPS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from(["hub", "hub-deaf", "partner", "partner-deaf", "nothing"]),
        st.integers(0, 15),
    ),
    min_size=10,
    max_size=120,
)
DRIFT = st.floats(0.9, 1.1)


@settings(max_examples=80, deadline=None)
@given(STEPS, st.tuples(DRIFT, DRIFT, DRIFT))
def test_never_do_both_take_messages(
    steps: list[tuple[int, str, int]], drifts: tuple[float, float, float]
) -> None:
    """Goal: questions and answers lost at will, clocks that run 10 % apart, pauses of 3 s."""
    world = World(drifts)
    for which, what, wait in steps:
        side, other = world.sides[which], world.sides[1 - which]
        sent_ns = side.clock(world.true_ns)
        world.true_ns += wait * STEP_NS
        if what.startswith("hub"):
            world.ask_hub(side, sent_ns, answered=what == "hub")
        elif what.startswith("partner") and side.active(world.true_ns):
            world.ask_partner(side, other, sent_ns, answered=what == "partner")
        assert not all(each.active(world.true_ns) for each in world.sides)


def test_it_stops_before_the_hub_may_give_the_lease_away() -> None:
    member = Member()
    member.granted(1, LEASE_MS, sent_ns=0, now_ns=100 * MS)
    assert member.part(LEASE_MS * MS - MARGIN_NS - 1) is Part.ACTIVE
    assert member.part(LEASE_MS * MS - MARGIN_NS) is Part.STANDBY
    assert member.token == 1, "it may be renewed under its number if nobody else took it"


def test_a_standby_that_promised_leaves_the_lease_alone() -> None:
    standby = Member()
    assert standby.promise(0)
    assert not standby.may_ask(PROMISE_NS - 1)
    standby.granted(2, LEASE_MS, sent_ns=0, now_ns=PROMISE_NS - 1)
    assert standby.part(PROMISE_NS - 1) is Part.STANDBY
    assert standby.may_ask(PROMISE_NS)
    standby.granted(2, LEASE_MS, sent_ns=PROMISE_NS, now_ns=PROMISE_NS)
    assert standby.part(PROMISE_NS) is Part.ACTIVE
    assert not standby.promise(PROMISE_NS), "the active one promises nothing"


def test_what_people_promoted_ends_when_the_hub_or_the_other_one_says_so() -> None:
    member = Member()
    member.promote()
    assert member.part(10**18) is Part.ACTIVE
    member.granted(4, LEASE_MS, sent_ns=0, now_ns=0)
    assert (member.part(0), member.by_people) == (Part.ACTIVE, False)
    assert member.part(LEASE_MS * MS) is Part.STANDBY
    member.promote()
    member.other_active()
    assert member.part(0) is Part.STANDBY
