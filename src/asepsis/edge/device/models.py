"""The three models of this device software: monitor, ventilator, infusion pump.

Codes are those of `core.mapping.nomenclature`, which only has rows that two independent sources
agree on; a test compares. It is not imported, because a compartment loads no more than it needs.

Source: ISO/IEEE 11073-10101:2020; docs/reference/nomenclature.md.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from asepsis.edge.device.catalogue import SENSOR_OFF, Kind, Limit, Model, Sign, Wave

_UNIT: Final = 4 << 16
DIMENSIONLESS: Final = _UNIT | 512
PERCENT: Final = _UNIT | 544
MILLI_L: Final = _UNIT | 1618
PER_MIN: Final = _UNIT | 2720
RESP_PER_MIN: Final = _UNIT | 2784
L_PER_MIN: Final = _UNIT | 3072
MILLI_L_PER_H: Final = _UNIT | 3122
MMHG: Final = _UNIT | 3872
CM_H2O: Final = _UNIT | 3904
MILLIVOLT: Final = _UNIT | 4274
OHM: Final = _UNIT | 4288
DEGREE_C: Final = _UNIT | 6048

ECG: Final = Wave(101, 131330, MILLIVOLT, 500, "0.001")  # MDC_ECG_ELEC_POTL_II
PLETH: Final = Wave(103, 150452, DIMENSIONLESS, 250, "0.001")  # MDC_PULS_OXIM_PLETH
PRESSURE: Final = Wave(104, 150036, MMHG, 500, "0.1")  # MDC_PRESS_BLD_ART_ABP
RESPIRATION: Final = Wave(105, 151552, OHM, 250, "0.001")  # MDC_RESP

HEART_RATE: Final = Sign(1, "Heart rate", 147842, PER_MIN, 0)
PULSE_RATE: Final = Sign(2, "Pulse rate", 149530, PER_MIN, 0)
SATURATION: Final = Sign(3, "SpO2", 150456, PERCENT, 0)
RESPIRATION_RATE: Final = Sign(4, "Respiration rate", 151562, RESP_PER_MIN, 0)
SYSTOLIC: Final = Sign(5, "Arterial pressure, systolic", 150037, MMHG, 0)
DIASTOLIC: Final = Sign(6, "Arterial pressure, diastolic", 150038, MMHG, 0)
MEAN_PRESSURE: Final = Sign(7, "Arterial pressure, mean", 150039, MMHG, 0)
TEMPERATURE: Final = Sign(15, "Temperature", 150344, DEGREE_C, 1)
MONITOR: Final = Model(
    kind=Kind.MONITOR,
    waves=(ECG, PLETH, PRESSURE, RESPIRATION),
    signs=(
        HEART_RATE, PULSE_RATE, SATURATION, RESPIRATION_RATE, SYSTOLIC, DIASTOLIC, MEAN_PRESSURE,
        TEMPERATURE,
    ),
    limits=(
        Limit(HEART_RATE.handle, 50, 120, 40, 140),
        Limit(SATURATION.handle, 90, None, 85, None),
        Limit(RESPIRATION_RATE.handle, 8, 30, 4, 40),
        Limit(MEAN_PRESSURE.handle, 65, 110, 55, 130),
    ),
)  # fmt: skip

AIRWAY_PRESSURE: Final = Wave(101, 151792, CM_H2O, 100, "0.01")  # MDC_PRESS_AWAY
AIRWAY_FLOW: Final = Wave(102, 151764, L_PER_MIN, 100, "0.01")  # MDC_FLOW_AWAY
TIDAL_VOLUME: Final = Sign(1, "Tidal volume, expiratory", 152664, MILLI_L, 0, SENSOR_OFF)
MINUTE_VOLUME: Final = Sign(2, "Minute volume, expiratory", 152000, L_PER_MIN, 1, SENSOR_OFF)
VENTILATION_RATE: Final = Sign(3, "Ventilation rate", 151586, RESP_PER_MIN, 0, SENSOR_OFF)
PEAK_PRESSURE: Final = Sign(4, "Peak airway pressure", 151973, CM_H2O, 0, SENSOR_OFF)
PEEP: Final = Sign(5, "PEEP", 151976, CM_H2O, 1, SENSOR_OFF)
OXYGEN: Final = Sign(6, "FiO2", 152196, PERCENT, 0, SENSOR_OFF)
VENTILATOR: Final = Model(
    kind=Kind.VENTILATOR,
    waves=(AIRWAY_PRESSURE, AIRWAY_FLOW),
    signs=(TIDAL_VOLUME, MINUTE_VOLUME, VENTILATION_RATE, PEAK_PRESSURE, PEEP, OXYGEN),
    limits=(
        Limit(TIDAL_VOLUME.handle, 300, 800, 200, None),
        Limit(MINUTE_VOLUME.handle, 4, 14, 2, None),
        Limit(VENTILATION_RATE.handle, 6, 35, 1, None),
        Limit(PEAK_PRESSURE.handle, 8, 35, 5, 45),
        Limit(OXYGEN.handle, 21, None, 18, None),
    ),
)

INFUSION_RATE: Final = Sign(1, "Infusion rate", 157784, MILLI_L_PER_H, 1, SENSOR_OFF)
VOLUME_INFUSED: Final = Sign(2, "Volume infused", 157993, MILLI_L, 1, SENSOR_OFF)
VOLUME_SET: Final = Sign(3, "Volume to be infused", 157884, MILLI_L, 0, SENSOR_OFF)
VOLUME_LEFT: Final = Sign(4, "Volume remaining", 157872, MILLI_L, 1, SENSOR_OFF)
PUMP: Final = Model(
    kind=Kind.PUMP,
    waves=(),
    signs=(INFUSION_RATE, VOLUME_INFUSED, VOLUME_SET, VOLUME_LEFT),
    limits=(Limit(VOLUME_LEFT.handle, 5, None, 1, None),),
)

MODELS: Final[Mapping[Kind, Model]] = MappingProxyType(
    {model.kind: model for model in (MONITOR, VENTILATOR, PUMP)}
)
