"""The two things every benchmark shares: the median of its runs and its last line."""

import json
from collections.abc import Callable
from statistics import median
from typing import Any


def median_of(runs: int, measure: Callable[[], float]) -> float:
    """Return the median of `runs` calls of `measure`, each of which returns one figure."""
    return median(measure() for _ in range(runs))


def report(
    name: str,
    value: float,
    unit: str,
    *,
    peer: str,
    peer_value: float,
    target: float,
    higher_is_better: bool = True,
    **more: Any,
) -> bool:
    """Print the one JSON line a benchmark ends with, and return whether the target is met.

    Args:
        name: Of the benchmark, as `just bench NAME` calls it.
        value: Our figure.
        unit: Of all figures, such as "messages/s".
        peer: The program the figure stands beside.
        peer_value: Its figure, from the same run.
        target: What our figure must reach, or stay under where lower is better.
        higher_is_better: Which way is better.
        more: Further keys of the line.
    """
    met = value >= target if higher_is_better else value <= target
    line = {
        "name": name,
        "value": round(value, 3),
        "unit": unit,
        "peer": peer,
        "peer_value": round(peer_value, 3),
        "ratio": round(value / peer_value, 3) if peer_value else None,
        "target": target,
        "met": met,
        **more,
    }
    print(json.dumps(line), flush=True)
    return met
