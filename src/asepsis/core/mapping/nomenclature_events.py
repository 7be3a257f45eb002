"""Event codes that alarm conditions are made of, as facts of the MDC nomenclature.

One event a line: 32-bit code, reference identifier without `MDC_EVT_`, kind of the condition
(p physiological, t technical, e either), the sources that agree, display. Fewer than two
independent sources: left out, because a wrong name on an alarm is worse than its number.

Source: ISO/IEEE 11073-10101:2020 Annex A (partition 3, events); DICOM PS3.16 CID 3038, CID 3039.
"""

from typing import Final

EVENTS: Final = """\
196616 ALARM e BH Alarm
196648 HI e PT Above high limit
196650 HI_GT_LIM e XS Above high limit
196670 LO e PT Below low limit
196672 LO_LT_LIM e XS Below low limit
196802 BATT_LO t PX Battery low
196838 CUFF_NOT_DEFLATED t PR Cuff not deflated
196840 CUFF_INFLAT_OVER t PR Cuff overpressure
196876 LEAD_DISCONN t PD Lead disconnected
196916 SENSOR_DISCONN t PR Sensor disconnected
196918 SENSOR_MALF t PR Sensor malfunction
196944 XDUCR_DISCONN t PR Transducer disconnected
196946 XDUCR_MALF t PR Transducer malfunction
197040 WAVE_ARTIF_ERR t PD Artefact
197288 PUMP_DELIV_START t BI Infusion started
199680 APNEA p PDTS Apnoea
199684 ECG_ASYSTOLE p PD Asystole
199766 ECG_CARD_BEAT_RATE_IRREG p PD Irregular heart rate
199854 DESAT p PDX Desaturation
"""
