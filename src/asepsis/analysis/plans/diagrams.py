"""Reduced ordered binary decision diagrams: exact probabilities and costs with shared events. Pure.

A node is an index; 0 is false and 1 is true. Equal functions are equal indices, so that an event
that several branches share is counted once.

Source: Bryant, "Graph-based algorithms for Boolean function manipulation" (1986).
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final, TypeVar

from asepsis.core.errors import LimitExceeded

FALSE: Final = 0
TRUE: Final = 1
NODES_MAX: Final = 200_000
VARIABLES_MAX: Final = 300
"""The recursion is as deep as there are variables."""
Number = TypeVar("Number", float, Fraction)


class Diagrams:
    """Functions over variables 0 to n-1, tested in this order.

    Args:
        variables: How many, 0 to 300.
        nodes_max: Nodes of all functions together.

    Raises:
        LimitExceeded: More variables than that; later, more nodes.
    """

    def __init__(self, variables: int, *, nodes_max: int = NODES_MAX) -> None:
        if variables > VARIABLES_MAX:
            raise LimitExceeded(f"{variables} events; exact up to {VARIABLES_MAX}")
        self.variables: Final = variables
        self._nodes_max = nodes_max
        self._nodes: list[tuple[int, int, int]] = [(variables, 0, 0), (variables, 1, 1)]
        self._known: dict[tuple[int, int, int], int] = {}
        self._chosen: dict[tuple[int, int, int], int] = {}

    def variable(self, index: int) -> int:
        """Return the function that is one variable."""
        return self._node(index, FALSE, TRUE)

    def parts(self, function: int) -> tuple[int, int, int]:
        """Return variable, function if it is false, function if it is true; for no constant."""
        return self._nodes[function]

    def both(self, one: int, other: int) -> int:
        """Return the conjunction."""
        return self.choose(one, other, FALSE)

    def either(self, one: int, other: int) -> int:
        """Return the disjunction."""
        return self.choose(one, TRUE, other)

    def negation(self, function: int) -> int:
        """Return the opposite."""
        return self.choose(function, FALSE, TRUE)

    def choose(self, condition: int, then: int, otherwise: int) -> int:
        """Return: if `condition` then `then` else `otherwise`."""
        if condition <= TRUE:
            return then if condition else otherwise
        if then == otherwise or (then, otherwise) == (TRUE, FALSE):
            return then if then == otherwise else condition
        key = (condition, then, otherwise)
        if key not in self._chosen:
            top = min(self._nodes[f][0] for f in key)
            low = self.choose(*(self._branch(f, top, 1) for f in key))
            high = self.choose(*(self._branch(f, top, 2) for f in key))
            self._chosen[key] = self._node(top, low, high)
        return self._chosen[key]

    def probability(self, function: int, probabilities: Sequence[Number]) -> Number:
        """Return the probability that a function of independent variables is true.

        Args:
            function: Which.
            probabilities: Of each variable; exact if they are fractions.
        """
        one = probabilities[0] ** 0 if probabilities else 1
        known = {FALSE: one - one, TRUE: one}
        for node in self._below(function):
            index, low, high = self._nodes[node]
            p = probabilities[index]
            known[node] = p * known[high] + (1 - p) * known[low]
        return known[function]  # type: ignore[return-value]

    def _below(self, function: int) -> list[int]:
        """Return the inner nodes of a function, each after those it leads to."""
        found: set[int] = set()
        open_ = [function]
        while open_:
            node = open_.pop()
            if node > TRUE and node not in found:
                found.add(node)
                open_ += self._nodes[node][1:]
        return sorted(found)  # A node is made after its branches: indices are the order.

    def _branch(self, function: int, variable: int, side: int) -> int:
        node = self._nodes[function]
        return node[side] if node[0] == variable else function

    def _node(self, variable: int, low: int, high: int) -> int:
        if low == high:
            return low
        key = (variable, low, high)
        if key not in self._known:
            if len(self._nodes) >= self._nodes_max:
                raise LimitExceeded(f"a decision diagram of over {self._nodes_max} nodes")
            self._known[key] = len(self._nodes)
            self._nodes.append(key)
        return self._known[key]
