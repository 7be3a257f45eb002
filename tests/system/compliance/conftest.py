"""Finds the gateway's test ward and the benchmarks' hospital."""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]
sys.path[:0] = [str(TESTS / "system" / "gateway"), str(TESTS.parent / "benchmarks")]
