"""The one place where HiGHS is called: a mixed-integer linear programme, built row by row.

Source: Huangfu, Hall, "Parallelizing the dual revised simplex method" (2018); highspy 1.15.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

import highspy

from asepsis.core.errors import LimitExceeded

THREADS: Final = 2
TOLERANCE: Final = 1e-9
"""How far a row may be missed. Relative gap and absolute gap are zero: optimal means optimal."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the solver found.

    Attributes:
        values: Of each variable.
        bound: No solution is below it, says the solver.
        optimal: Whether it closed the gap in its time.
    """

    values: tuple[float, ...]
    bound: float
    optimal: bool


class Milp:
    """A programme that is minimised."""

    def __init__(self) -> None:
        self._highs = highspy.Highs()
        for name, value in (
            ("output_flag", False),
            ("threads", THREADS),
            ("mip_rel_gap", 0.0),
            ("mip_abs_gap", 0.0),
            ("mip_feasibility_tolerance", TOLERANCE),
            ("primal_feasibility_tolerance", TOLERANCE),
            ("random_seed", 1),
        ):
            self._highs.setOptionValue(name, value)
        self._columns = 0

    def binary(self, cost: float = 0.0, *, may_be: int = 1) -> int:
        """Add a variable that is 0 or 1 (0 if `may_be` is 0) and return its index."""
        index = self.continuous(cost, lower=0, upper=may_be)
        self._highs.changeColIntegrality(index, highspy.HighsVarType.kInteger)
        return index

    def continuous(self, cost: float = 0.0, *, lower: float = -inf, upper: float = inf) -> int:
        """Add a variable and return its index."""
        self._highs.addVar(lower, upper)
        self._highs.changeColCost(self._columns, cost)
        self._columns += 1
        return self._columns - 1

    def price(self, index: int, cost: float) -> None:
        """Set what a variable costs in the objective."""
        self._highs.changeColCost(index, cost)

    def row(
        self, terms: Mapping[int, float], *, at_least: float = -inf, at_most: float = inf
    ) -> None:
        """Add a constraint on the sum of variables times coefficients."""
        self._highs.addRow(at_least, at_most, len(terms), list(terms), list(terms.values()))

    def solve(self, *, seconds_max: float) -> Answer | None:
        """Minimise; None if nothing satisfies all rows.

        Raises:
            LimitExceeded: No answer in the time.
        """
        self._highs.setOptionValue("time_limit", self._highs.getRunTime() + seconds_max)
        self._highs.run()
        status = self._highs.getModelStatus()
        if status in {
            highspy.HighsModelStatus.kInfeasible,
            highspy.HighsModelStatus.kUnboundedOrInfeasible,
        }:
            return None
        optimal = status == highspy.HighsModelStatus.kOptimal
        info = self._highs.getInfo()
        if not optimal and not info.primal_solution_status:
            words = self._highs.modelStatusToString(status)
            raise LimitExceeded(f"the solver has no answer ({words})", hint="allow more seconds")
        values = tuple(float(value) for value in self._highs.getSolution().col_value)
        return Answer(values, float(info.mip_dual_bound), optimal)
