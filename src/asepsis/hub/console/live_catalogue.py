"""How metrics stand on a tile: short label, group (its colour), rank and unit. Pure.

The nomenclature says what a code means; this table says only what a ward calls it. What has no row
here is shown with the nomenclature's name, behind everything else; a vendor's own metric says so.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from asepsis.core.mapping.nomenclature import (
    EVENTS_BY_CODE,
    METRICS_BY_CODE,
    UNITS_BY_CODE,
    is_private,
    metric_of,
    name_of,
)

CACHED: Final = 4_096
RANK_LAST: Final = 900
_ROWS: Final = """\
ECG_HEART_RATE HR ecg 10 -
PULS_OXIM_SAT_O2 SpO2 spo2 20 -
PRESS_BLD_ART_ABP_SYS ABP abp 30 sys
PRESS_BLD_ART_ABP_DIA ABP abp 30 dia
PRESS_BLD_ART_ABP_MEAN ABP abp 30 mean
PRESS_BLD_ART_SYS ART abp 31 sys
PRESS_BLD_ART_DIA ART abp 31 dia
PRESS_BLD_ART_MEAN ART abp 31 mean
RESP_RATE RR resp 40 -
CO2_RESP_RATE awRR co2 42 -
AWAY_RESP_RATE awRR co2 42 -
AWAY_CO2_ET etCO2 co2 44 -
CONC_AWAY_CO2_ET etCO2 co2 44 -
PRESS_BLD_NONINV_SYS NBP nbp 50 sys
PRESS_BLD_NONINV_DIA NBP nbp 50 dia
PRESS_BLD_NONINV_MEAN NBP nbp 50 mean
PRESS_CUFF_SYS NBP nbp 51 sys
PRESS_CUFF_DIA NBP nbp 51 dia
PRESS_CUFF_MEAN NBP nbp 51 mean
TEMP Temp temp 60 -
TEMP_CORE Tcore temp 61 -
TEMP_BODY Temp temp 62 -
TEMP_SKIN Tskin temp 63 -
TEMP_RECT Trect temp 64 -
TEMP_ESOPH Tesoph temp 65 -
TEMP_BLD Tblood temp 66 -
PRESS_BLD_VEN_CENT_MEAN CVP cvp 70 mean
PRESS_BLD_ART_PULM_SYS PAP pap 75 sys
PRESS_BLD_ART_PULM_DIA PAP pap 75 dia
PRESS_BLD_ART_PULM_MEAN PAP pap 75 mean
PRESS_INTRA_CRAN ICP cvp 78 -
PULS_OXIM_PULS_RATE PR spo2 80 -
PULS_RATE PR spo2 81 -
PLETH_PULS_RATE PR spo2 82 -
PULS_RATE_NON_INV PR-NBP nbp 83 -
VENT_RESP_RATE RRvent vent 100 -
VOL_AWAY_TIDAL VT vent 102 -
VENT_VOL_TIDAL VT vent 102 -
VOL_AWAY_TIDAL_EXP VTe vent 103 -
VOL_MINUTE_AWAY MV vent 104 -
VENT_VOL_MINUTE_EXP MVe vent 105 -
VENT_PRESS_AWAY_MAX Ppeak vent 106 -
VENT_PRESS_AWAY_END_EXP_POS PEEP vent 107 -
CONC_AWAY_O2_INSP FiO2 vent 108 -
FLOW_FLUID_PUMP Rate pump 120 -
FLOW_FLUID_PUMP_CURRENT Rate pump 121 -
RATE_DOSE Dose pump 122 -
VOL_FLUID_DELIV_TOTAL Infused pump 123 -
VOL_FLUID_TBI_REMAIN VTBI pump 124 -
TIME_PD_REMAIN Remaining pump 125 -
ECG_ELEC_POTL_II II ecg 10 wave
ECG_ELEC_POTL_V V ecg 13 wave
ECG_ELEC_POTL ECG ecg 12 wave
PULS_OXIM_PLETH Pleth spo2 20 wave
PRESS_BLD_ART_ABP ABP abp 30 wave
PRESS_BLD_ART ART abp 31 wave
RESP Resp resp 40 wave
IMPED_TTHOR Resp resp 41 wave
AWAY_CO2 CO2 co2 44 wave
CONC_AWAY_CO2 CO2 co2 44 wave
PRESS_AWAY Paw vent 100 wave
FLOW_AWAY Flow vent 101 wave
PRESS_BLD_VEN_CENT CVP cvp 70 wave
PRESS_BLD_ART_PULM PAP pap 75 wave
ECG_ELEC_POTL_I I ecg 210 wave
ECG_ELEC_POTL_III III ecg 211 wave
ECG_ELEC_POTL_AVR aVR ecg 212 wave
ECG_ELEC_POTL_AVL aVL ecg 213 wave
ECG_ELEC_POTL_AVF aVF ecg 214 wave
ECG_ELEC_POTL_V1 V1 ecg 215 wave
ECG_ELEC_POTL_V2 V2 ecg 216 wave
ECG_ELEC_POTL_V3 V3 ecg 217 wave
ECG_ELEC_POTL_V4 V4 ecg 218 wave
ECG_ELEC_POTL_V5 V5 ecg 219 wave
ECG_ELEC_POTL_V6 V6 ecg 220 wave
ECG_AMPL_ST_I ST-I ecg 300 -
ECG_AMPL_ST_II ST-II ecg 301 -
ECG_AMPL_ST_III ST-III ecg 302 -
ECG_AMPL_ST_AVR ST-aVR ecg 303 -
ECG_AMPL_ST_AVL ST-aVL ecg 304 -
ECG_AMPL_ST_AVF ST-aVF ecg 305 -
ECG_AMPL_ST_V1 ST-V1 ecg 306 -
ECG_AMPL_ST_V2 ST-V2 ecg 307 -
ECG_AMPL_ST_V3 ST-V3 ecg 308 -
ECG_AMPL_ST_V4 ST-V4 ecg 309 -
ECG_AMPL_ST_V5 ST-V5 ecg 310 -
ECG_AMPL_ST_V6 ST-V6 ecg 311 -
"""
_UNIT_WORDS: Final = (
    ("mm[Hg]", "mmHg"), ("cm[H2O]", "cmH2O"), ("[degF]", "°F"), ("[iU]", "IU"), ("[pH]", "pH"),
    ("[ppth]", "‰"), ("[ppm]", "ppm"), ("Cel", "°C"), ("Ohm", "Ω"), ("ug", "µg"), ("uL", "µL"),
    ("uV", "µV"), ("us", "µs"), ("umol", "µmol"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How one metric stands on a tile.

    Attributes:
        label: What a ward calls it; metrics with one label and parts share a cell.
        name: The nomenclature's name, for the tooltip and the reader.
        group: Its colour.
        part: `sys`, `dia`, `mean`, or empty.
        rank: Place on the tile, smallest first.
        unit: Unit for people; empty for none.
    """

    label: str
    name: str
    group: str
    part: str
    rank: int
    unit: str


def _read() -> tuple[dict[str, tuple[str, str, str, int]], dict[str, tuple[str, str, str, int]]]:
    numerics: dict[str, tuple[str, str, str, int]] = {}
    waves: dict[str, tuple[str, str, str, int]] = {}
    for line in _ROWS.splitlines():
        refid, label, group, rank, part = line.split(" ")
        row = (label, group, part.replace("-", "").replace("wave", ""), int(rank))
        (waves if part == "wave" else numerics)[f"MDC_{refid}"] = row
    return numerics, waves


_NUMERICS, _WAVES = _read()


@lru_cache(maxsize=CACHED)
def shown_metric(mdc_code: int, unit_code: int, *, wave: bool) -> Shown:
    """Say how a metric is shown; never fails, a code from outside may be anything.

    Args:
        mdc_code: 32-bit MDC code.
        unit_code: 32-bit MDC code of its unit.
        wave: Whether it is a waveform.
    """
    metric = METRICS_BY_CODE.get(mdc_code)
    table = _WAVES if wave else _NUMERICS
    row = table.get(metric.refid) if metric else None
    unit = _unit(unit_code)
    if metric and row:
        label, group, part, rank = row
        return Shown(label=label, name=metric.display, group=group, part=part, rank=rank, unit=unit)
    known = metric_of(mdc_code)
    if known is None:
        word = "private" if is_private(mdc_code) else "unknown"
        return Shown(
            label=name_of(mdc_code), name=f"{word} metric", group="other", part="",
            rank=RANK_LAST + 90, unit=unit,
        )  # fmt: skip
    name = known.display if metric else f"{known.display} (setting)"
    return Shown(label=name, name=name, group="other", part="", rank=RANK_LAST, unit=unit)


def event_label(mdc_code: int) -> str:
    """Return what an alarm condition's code means, or an empty text for an unknown one."""
    event = EVENTS_BY_CODE.get(mdc_code)
    return event.display if event else ""


def _unit(unit_code: int) -> str:
    unit = UNITS_BY_CODE.get(unit_code)
    if unit is None:
        return name_of(unit_code)
    if unit.ucum == "1":
        return ""
    text = unit.ucum
    for ucum, word in _UNIT_WORDS:
        text = text.replace(ucum, word)
    return text
