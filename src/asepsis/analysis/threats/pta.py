"""Practical Threat Analysis: what threats cost, the ranked plan and the exact one beside it.

Formulas, as far as they are public; those below "risk" are our reconstruction, consistent with the
published texts and examples, and said to be one in the manual:

    damage D(T)  = sum over assets of share damaged * value
    maximal risk = occurrences a year * D(T); of the system: the sum, which may exceed all assets
    minimal risk = maximal * (1 - mitigation if its whole plan is implemented)
    current risk = maximal * (1 - mitigation * shares of what is implemented)
    overall mitigation of C = sum over threats of maximal risk * mitigation * share of C
    cost-effectiveness of C = overall mitigation / cost; the plan takes the best first

The exact plan maximises the same sum within the budget; so the two differ only by their way.

Source: ptatechnologies.com, "Calculative method", steps 90 to 130; "PTA reports".
"""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from asepsis.analysis.plans.milp import Milp
from asepsis.analysis.threats.file import convert_part, money, nearest
from asepsis.analysis.threats.model import Chance, Money
from asepsis.analysis.threats.model import Text as Words
from asepsis.analysis.threats.reading import Text, read_text
from asepsis.core.errors import InputError, LimitExceeded

THINGS_MAX: Final = 1_000
TOP: Final = 5
SECONDS_MAX: Final = 30.0


class Asset(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be lost."""

    text: Words = ""
    value: Money


class Vulnerability(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a threat exploits."""

    text: Words = ""


class Countermeasure(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What mitigates vulnerabilities (not threats)."""

    text: Words = ""
    cost: Money
    mitigates: tuple[str, ...]
    implemented: bool = False


class Threat(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may happen.

    `damages` is asset -> share of its value that is lost; `plan` is countermeasure -> its share of
    `mitigation`, which is what the whole plan takes away.
    """

    text: Words = ""
    per_year: Annotated[float, Meta(ge=0, le=1000)]
    vulnerabilities: tuple[str, ...]
    damages: dict[str, Chance]
    mitigation: Chance
    plan: dict[str, Chance]


SECTIONS: Final[Mapping[str, type[Struct]]] = {
    "assets": Asset,
    "vulnerabilities": Vulnerability,
    "countermeasures": Countermeasure,
    "threats": Threat,
}


class Analysis(Struct, frozen=True, kw_only=True):
    """A whole analysis."""

    name: str
    currency: str
    assets: dict[str, Asset]
    vulnerabilities: dict[str, Vulnerability]
    countermeasures: dict[str, Countermeasure]
    threats: dict[str, Threat]

    def maximal(self, threat: str) -> Fraction:
        """Return the risk of a threat with nothing done, money a year."""
        found = self.threats[threat]
        damage = sum(
            (_exact(share) * money(self.assets[a].value) for a, share in found.damages.items()),
            Fraction(0),
        )
        return _exact(found.per_year) * damage

    def mitigated(self, threat: str, countermeasure: str) -> Fraction:
        """Return what a countermeasure takes from a threat, money a year."""
        found = self.threats[threat]
        share = _exact(found.plan.get(countermeasure, 0.0))
        return self.maximal(threat) * _exact(found.mitigation) * share

    def overall(self, countermeasure: str) -> Fraction:
        """Return the overall mitigation of a countermeasure, money a year."""
        return sum((self.mitigated(t, countermeasure) for t in self.threats), Fraction(0))

    def risk(self, implemented: Sequence[str], *, threat: str | None = None) -> Fraction:
        """Return the risk with some countermeasures, of one threat or of the system."""
        return sum(
            (
                self.maximal(t) - sum((self.mitigated(t, c) for c in implemented), Fraction(0))
                for t in ([threat] if threat else self.threats)
            ),
            Fraction(0),
        )

    def ratio(self, countermeasure: str) -> Fraction | None:
        """Return the cost-effectiveness; None for what costs nothing."""
        cost = money(self.countermeasures[countermeasure].cost)
        return self.overall(countermeasure) / cost if cost else None

    def ranked(self, budget: Fraction | None) -> list[str]:
        """Return the ranked plan beside what is implemented: the best for its money that fits."""
        chosen: list[str] = []
        left = budget
        for name in self._order():
            cost = money(self.countermeasures[name].cost)
            if self.overall(name) and (left is None or cost <= left):
                chosen.append(name)
                left = None if left is None else left - cost
        return chosen

    def exact(self, budget: Fraction | None) -> list[str]:
        """Return the plan that leaves the least risk within the budget."""
        milp = Milp()
        names = self._order()
        scale = float(max((self.overall(n) for n in names), default=Fraction(1)) or 1)
        variables = {n: milp.binary(-float(self.overall(n)) / scale) for n in names}
        if budget is not None:
            costs = {variables[n]: float(money(self.countermeasures[n].cost)) for n in names}
            milp.row(costs, at_most=float(budget))
        answer = milp.solve(seconds_max=SECONDS_MAX)
        chosen = [n for n in names if answer and answer.values[variables[n]] > 0.5]
        return [name for name in chosen if self.overall(name)]

    def report(self, *, budget: float | None) -> dict[str, Any]:
        """Return the three reports, and the exact plan beside the ranked one.

        Raises:
            InputError: A budget below 0.
        """
        if budget is not None and budget < 0:
            raise InputError("the budget is below 0")
        limit = None if budget is None else _exact(budget)
        return {
            "status": self._status(),
            "cost_effectiveness": [self._line(name) for name in self._order(everything=True)],
            "ranked": self._plan(self.ranked(limit)),
            "exact": self._plan(self.exact(limit)),
        }

    def _order(self, *, everything: bool = False) -> list[str]:
        names = [n for n, c in self.countermeasures.items() if everything or not c.implemented]
        dear = {n: self.ratio(n) for n in names}
        return sorted(names, key=lambda n: (dear[n] is not None, -(dear[n] or 0), n))

    def _done(self) -> list[str]:
        return [name for name, c in self.countermeasures.items() if c.implemented]

    def _status(self) -> dict[str, Any]:
        total = sum((money(asset.value) for asset in self.assets.values()), Fraction(0))
        costs = {name: money(c.cost) for name, c in self.countermeasures.items()}
        current = {t: self.risk(self._done(), threat=t) for t in self.threats}
        worst = sorted(current, key=lambda t: (-current[t], t))[:TOP]
        figures = {
            "maximal_risk": self.risk([]),
            "current_risk": self.risk(self._done()),
            "minimal_risk": self.risk(list(self.countermeasures)),
        }
        return {
            "value_of_assets": self._amount(total),
            "cost_of_countermeasures": self._amount(sum(costs.values(), Fraction(0))),
            "already_invested": self._amount(
                sum((costs[name] for name in self._done()), Fraction(0))
            ),
            **{
                name: f"{self._amount(value)} a year, {_percent(value, total)} of assets"
                for name, value in figures.items()
            },
            "worst_threats": ", ".join(f"{t} {self._amount(current[t])}" for t in worst),
        }

    def _line(self, name: str) -> dict[str, Any]:
        ratio = self.ratio(name)
        parts = sorted(
            ((self.mitigated(t, name), t) for t in self.threats if self.mitigated(t, name)),
            reverse=True,
        )
        return {
            "name": name,
            "cost": self.countermeasures[name].cost,
            "mitigates": self._amount(self.overall(name)),
            "ratio": "no cost" if ratio is None else f"{float(ratio):.2f}",
            "why": "; ".join(f"{self._amount(v)} of {t}" for v, t in parts) or "no threat's plan",
        }

    def _plan(self, chosen: Sequence[str]) -> dict[str, Any]:
        cost = sum((money(self.countermeasures[name].cost) for name in chosen), Fraction(0))
        return {
            "countermeasures": ", ".join(chosen) or "none",
            "cost": self._amount(cost),
            "risk_left": f"{self._amount(self.risk([*self._done(), *chosen]))} a year",
        }

    def _amount(self, value: Fraction) -> str:
        return f"{float(value):.0f} {self.currency}"


def read_analysis(raw: bytes, *, name: str) -> Analysis:
    """Read an analysis from YAML.

    Raises:
        InputError: A mistake, with its line.
        LimitExceeded: Too large.
    """
    text = read_text(raw, name=name)
    for problem in _mistakes(text):
        raise problem
    parts: dict[str, Any] = {
        section: {
            thing: convert_part(text, f"{section}.{thing}", value, kind)
            for thing, value in text.content.get(section, {}).items()
        }
        for section, kind in SECTIONS.items()
    }
    for key in ("name", "currency"):
        parts[key] = convert_part(text, key, text.content[key], str)
    found = Analysis(**parts)
    for problem in _contradictions(found, text):
        raise problem
    return found


def _mistakes(text: Text) -> Iterator[InputError]:
    known = {"asepsis", "name", "currency", *SECTIONS}
    if text.content.get("asepsis") != "pta/1":
        yield text.error("asepsis", 'is not "pta/1"', hint='begin with "asepsis: pta/1"')
    for key in text.content.keys() - known:
        yield text.error(key, f"unknown key {key!r}", hint=nearest(key, known))
    for key in known - text.content.keys():
        yield text.error(key, f"{key!r} is missing")
    for section in SECTIONS:
        things: Any = text.content.get(section)
        if not isinstance(things, dict):
            yield text.error(section, "is a table of things by their ids")
        elif len(things) > THINGS_MAX:  # pyright: ignore[reportUnknownArgumentType]
            raise LimitExceeded(f"{text.where(section)}: over {THINGS_MAX} {section}")


def _contradictions(found: Analysis, text: Text) -> Iterator[InputError]:
    for name, countermeasure in found.countermeasures.items():
        path = f"countermeasures.{name}"
        yield from _known(
            text, f"{path}.mitigates", countermeasure.mitigates, found.vulnerabilities
        )
        yield from _currency(text, f"{path}.cost", countermeasure.cost, found.currency)
    for name, asset in found.assets.items():
        yield from _currency(text, f"assets.{name}.value", asset.value, found.currency)
    for name, threat in found.threats.items():
        path = f"threats.{name}"
        yield from _known(
            text, f"{path}.vulnerabilities", threat.vulnerabilities, found.vulnerabilities
        )
        yield from _known(text, f"{path}.damages", threat.damages, found.assets)
        yield from _known(text, f"{path}.plan", threat.plan, found.countermeasures)
        if sum(map(_exact, threat.plan.values()), Fraction(0)) > 1:
            yield text.error(f"{path}.plan", "the shares add up to more than 1")
        for word in threat.plan:
            mitigates = found.countermeasures[word].mitigates
            if not set(mitigates) & set(threat.vulnerabilities):
                yield text.error(
                    f"{path}.plan.{word}", f"{word!r} mitigates none of its vulnerabilities"
                )


def _known(
    text: Text, path: str, words: Sequence[str] | Mapping[str, Any], known: Mapping[str, Any]
) -> Iterator[InputError]:
    for word in words:
        if word not in known:
            yield text.error(path, f"there is no {word!r}", hint=nearest(word, known))


def _currency(text: Text, path: str, value: str, currency: str) -> Iterator[InputError]:
    if not value.endswith(currency):
        yield text.error(path, f"{value!r} is not in {currency}")


def _exact(value: float) -> Fraction:
    return Fraction(str(value))


def _percent(part: Fraction, whole: Fraction) -> str:
    return f"{float(part / whole):.0%}" if whole else "-"
