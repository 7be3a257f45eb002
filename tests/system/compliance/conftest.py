"""Finds the test wards of the gateway and of delivery, and the benchmarks' hospital."""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]
SYSTEM = TESTS / "system"
sys.path[:0] = [
    str(SYSTEM / "gateway"),
    str(SYSTEM / "delivery"),
    str(SYSTEM / "hub"),
    str(TESTS.parent / "benchmarks"),
]
