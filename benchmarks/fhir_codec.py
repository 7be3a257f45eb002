"""How many FHIR bundles of 28 observations a second one core reads: ours beside three peers.

Ours decodes into typed structs with every limit, keeps every digit and counts unknown fields. The
peers: `fhirkit` (validation in Rust), `fhir.resources` (pydantic), and as limit program the JSON
decoder alone, without types or checks. Figures are CPU time of one thread, median of 5 runs.

Run: .venv/bin/python benchmarks/fhir_codec.py
"""

import sys
import time
from collections.abc import Callable
from itertools import islice
from statistics import median

import fhirkit
import msgspec
from fhir.resources.R4B.bundle import Bundle as PeerBundle

from _report import report
from asepsis.core.mapping import nomenclature
from asepsis.core.mapping.fhir_bundle import numerics_to_bundle, observations_of
from asepsis.core.mapping.fhir_compare import equal_to_signed
from asepsis.core.mapping.fhir_numeric import Origin
from asepsis.core.model.identity import DeviceId
from asepsis.core.model.observation import MeasurementStatus, Numeric
from asepsis.core.wire import fhir_codec

TARGET_PER_S = 2_000
RUNS = 5
NUMERICS = 28
DEVICE = DeviceId.from_eui64(0x0123456789ABCDEF)
START_NS = 1_700_000_000_000_000_000


def batch() -> list[Numeric]:
    """Return 28 different metrics with two decimals each."""
    metrics = (m for m in nomenclature.METRICS_BY_CODE.values() if m.is_numeric)
    return [
        Numeric(
            handle=1 + i,
            mdc_code=metric.code,
            unit_code=metric.units[0],
            value=0xFE000000 | 1000 + i,
            status=MeasurementStatus.VALID,
            offset_ms=i,
        )
        for i, metric in enumerate(islice(metrics, NUMERICS))
    ]


def per_s(work: Callable[[], object], times: int) -> float:
    """Return how often a second of CPU time the work is done."""
    start = time.process_time()
    for _ in range(times):
        work()
    return times / (time.process_time() - start)


def main() -> int:
    """Measure, print the figures and the JSON line."""
    numerics = batch()
    bundle = numerics_to_bundle(
        numerics, Origin(device=DEVICE, start_ns=START_NS), epoch=1, sequence=1
    ).value
    text = fhir_codec.encode(bundle)
    observations = observations_of(bundle)
    pairs = [nomenclature.pair(n.mdc_code, n.unit_code) for n in numerics]
    assert fhir_codec.decode_bundle(text).resource == bundle
    works: dict[str, tuple[Callable[[], object], int]] = {
        "ours, decode": (lambda: fhir_codec.decode_bundle(text), 1000),
        "ours, encode": (lambda: fhir_codec.encode(bundle), 1000),
        "ours, equal to signed": (
            lambda: equal_to_signed(observations, numerics, device=DEVICE, start_ns=START_NS),
            300,
        ),
        "ours, check 28 units": (lambda: nomenclature.check_units(pairs), 20_000),
        "limit (JSON alone)": (lambda: msgspec.json.decode(text), 1000),
        "fhirkit": (lambda: fhirkit.validate(text.decode()), 300),
        "fhir.resources": (lambda: PeerBundle.model_validate_json(text), 10),
    }
    figures = {
        name: median(per_s(work, times) for _ in range(RUNS))
        for name, (work, times) in works.items()
    }
    print(f"{NUMERICS} observations, {len(text)} bytes, CPU time, median of {RUNS}")
    for name, figure in figures.items():
        print(f"{name:22} {figure:12.0f}/s")
    met = report(
        "fhir-codec",
        figures["ours, decode"],
        "bundles/s",
        peer="fhirkit",
        peer_value=figures["fhirkit"],
        target=TARGET_PER_S,
        bundle_bytes=len(text),
        others_per_s={name: round(figure) for name, figure in figures.items()},
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
