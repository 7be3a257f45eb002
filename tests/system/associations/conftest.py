"""Finds the hub's test ward and the benchmarks' hospital."""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]
sys.path[:0] = [str(TESTS / "system" / "hub"), str(TESTS.parent / "benchmarks")]
