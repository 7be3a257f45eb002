"""How a plan does under other figures is what the model itself says with those figures."""

import random
import time
from fractions import Fraction
from pathlib import Path

import pytest

from asepsis.analysis.threats.compiled import Objective
from asepsis.analysis.threats.file import read_model
from asepsis.analysis.threats.library import shipped
from asepsis.analysis.threats.stability import prices, stability, tornado, varied
from asepsis.analysis.threats.study import Planned, Study
from asepsis.core.errors import InputError

RULES = shipped()
DATA = Path(__file__).parent / "data"
PATIENTS = Objective.PATIENTS
ESTIMATE = "estimates: {{AUTH-NONE: {{probability: {}, reason: measured}}}}\nbudgets:"


def study(name: str, *changes: tuple[str, str]) -> Study:
    text = (DATA / f"{name}.yaml").read_text("utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return Study(read_model(text.encode(), name="m.yaml")[0], rules=RULES, clock=time.monotonic)


@pytest.fixture(scope="module")
def hospira() -> tuple[Study, Planned]:
    made = study("hospira")
    return made, made.plan(PATIENTS)


@pytest.mark.parametrize(
    ("name", "old", "low", "high"),
    [
        ("attacker criminals", "per_year: 0.5", "per_year: 0.25", "per_year: 1"),
        ("effect isolate", "factors: [0.02]}]\n  signed", "factors: [0.01]}]\n  signed",
         "factors: [0.04]}]\n  signed"),
        ("loss overdose", "patients: 10,", "patients: 5,", "patients: 20,"),
        ("rule AUTH-NONE", "budgets:", ESTIMATE.format(0.45), ESTIMATE.format(1)),
    ],
    ids=["attacker", "effect", "loss", "rule"],
)  # fmt: skip
def test_a_swing_is_what_the_model_says_with_that_figure(
    name: str, old: str, low: str, high: str, hospira: tuple[Study, Planned]
) -> None:
    made, planned = hospira
    swing = next(swing for swing in tornado(made, planned) if swing.input == name)
    plan = planned.best.plan
    for told, new in ((swing.low, low), (swing.high, high)):
        other = study("hospira", (old, new))
        assert told == pytest.approx(float(other.risk(PATIENTS, plan)))


def test_a_tornado_is_sorted_and_leaves_out_what_moves_nothing(
    hospira: tuple[Study, Planned],
) -> None:
    found = tornado(*hospira)
    widths = [swing.high - swing.low for swing in found]
    assert widths == sorted(widths, reverse=True)
    assert all(swing.low <= float(hospira[1].best.risk) <= swing.high for swing in found)
    assert "harm disconnect" not in {swing.input for swing in found}


def test_a_tornado_names_what_would_turn_the_plan() -> None:
    """Goal: harm that is far less than thought makes disconnection the best plan again."""
    made = study("hospira")
    planned = made.plan(PATIENTS)
    found = {swing.input: swing for swing in tornado(made, planned, factor=30)}
    assert found["harm disconnect"].changes == {"isolate": (1, 0), "disconnect": (0, 1)}
    assert found["harm disconnect"].low == found["harm disconnect"].high


def test_draws_are_repeatable_and_say_how_often_the_plan_stays(
    hospira: tuple[Study, Planned],
) -> None:
    made, planned = hospira
    found = stability(made, planned, rng=random.Random(7), draws=20)
    assert found == stability(made, planned, rng=random.Random(7), draws=20)
    assert (found.same, found.as_good, found.regret) == (1.0, 1.0, 0.0)
    assert found.taken == {"isolate": 1.0}
    assert list(found.left) == sorted(found.left)
    near = study("hospira", ("harm_patients: 0.4", "harm_patients: 0.03"))
    wild = stability(near, near.plan(PATIENTS), rng=random.Random(7), draws=40, factor=8)
    assert 0 < wild.same < 1
    assert wild.regret > 0
    assert wild.taken["isolate"] + wild.taken["disconnect"] <= 1
    assert wild.same <= wild.as_good < 1


def test_a_draw_in_which_no_plan_keeps_what_is_accepted_is_counted() -> None:
    ceiling = ("patients: 10, money", "patients: 10, accept: 0.002, money")
    made = study("hospira", ceiling, ("disconnect:\n", "disconnect:\n    never: true\n"))
    planned = made.plan(PATIENTS)
    found = stability(made, planned, rng=random.Random(3), draws=30)
    assert 0 < found.impossible < 1
    assert found.same == 1
    swings = {swing.input: swing for swing in tornado(made, planned)}
    assert swings["effect isolate"].impossible
    assert not swings["loss overdose"].impossible


def test_probabilities_stay_probabilities(hospira: tuple[Study, Planned]) -> None:
    problem = hospira[0].graph.problem(PATIENTS)
    names = {f"rule {step.name}" for step in problem.steps} | {"effect isolate"}
    other = varied(problem, dict.fromkeys(names, Fraction(50)))
    assert all(step.probability <= 1 for step in other.steps)
    assert {f for step in other.steps for f in step.effects.get("isolate", ())} == {Fraction(1)}
    assert varied(problem, {}) == problem


@pytest.mark.parametrize("factor", [1.0, 0.5, 101.0, float("nan")])
def test_a_factor_out_of_its_range_is_refused(
    factor: float, hospira: tuple[Study, Planned]
) -> None:
    with pytest.raises(InputError, match="factor"):
        tornado(*hospira, factor=factor)


@pytest.mark.parametrize("draws", [0, 10_001])
def test_a_number_of_draws_out_of_its_range_is_refused(
    draws: int, hospira: tuple[Study, Planned]
) -> None:
    with pytest.raises(InputError, match="draws"):
        stability(*hospira, rng=random.Random(1), draws=draws)


def test_the_price_of_a_budget_is_what_planning_with_more_or_less_of_it_says() -> None:
    """Goal: the discrete shadow price: no amount above the limit spares more for each unit."""
    short = ("budgets:\n  hospital: {money: 4000 USD", "budgets:\n  hospital: {money: 1600 USD")
    made = study("conficker", short)
    planned = made.plan(PATIENTS)
    price = next(p for p in prices(made, planned) if p.budget == "hospital money")
    assert (price.limit, price.needed, price.more, price.less) == (1600, 1500, 3500, 0)

    def left(money: int) -> float:
        other = study("conficker", (short[0], f"budgets:\n  hospital: {{money: {money} USD"))
        return float(other.plan(PATIENTS).best.risk)

    now = float(planned.best.risk)
    assert now - left(3500) == pytest.approx(price.spares)
    assert left(0) - now == pytest.approx(price.costs)
    for money in (2000, 2600, 5500):
        assert (now - left(money)) / (money - 1600) <= price.for_each * (1 + 1e-9)


def test_a_budget_that_buys_nothing_more_is_worth_nothing(hospira: tuple[Study, Planned]) -> None:
    found = {price.budget: price for price in prices(*hospira)}
    assert found["hospital money"].more is None
    assert found["hospital money"].for_each == 0
    assert found["vendor money"].less is None
