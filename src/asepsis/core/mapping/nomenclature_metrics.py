"""Metrics of monitor, ventilator and infusion pump, as facts of the MDC nomenclature.

One metric a line: 32-bit code, reference identifier without `MDC_`, kind (n numeric, w waveform,
b both), unit group of `UNIT_GROUPS`, the sources that agree on code and name, display. A row with
fewer than two independent sources does not stand here; `docs/reference/nomenclature.md` names the
sources behind the letters and what was left out.

Source: ISO/IEEE 11073-10101:2020 Annex A (partition 2, SCADA); code = partition << 16 | term.
"""

from typing import Final

UNIT_GROUPS: Final[dict[str, tuple[str, ...]]] = {
    # The first unit is the one a mapping from UCUM prefers when several codes fit; a text after
    # "=" is a UCUM expression whose dimension is allowed although no unit code of it stands here.
    "beat": ("BEAT_PER_MIN", "PULS_PER_MIN", "PER_MIN", "HZ"),
    "resp": ("RESP_PER_MIN", "PER_MIN", "HZ"),
    "count": ("DIMLESS", "BEAT_PER_MIN", "PER_MIN"),
    "blood": ("MMHG", "KILO_PASCAL", "HECTO_PASCAL", "CM_H2O"),
    "airway": ("CM_H2O", "MILLI_BAR", "HECTO_PASCAL", "KILO_PASCAL", "MMHG"),
    "gas": ("MMHG", "KILO_PASCAL", "PERCENT", "DIMLESS"),
    "fraction": ("PERCENT", "DIMLESS", "KILO_PASCAL", "MMHG"),
    "ratio": ("DIMLESS", "PERCENT"),
    "percent": ("PERCENT", "DIMLESS"),
    "voltage": ("MILLI_VOLT", "MICRO_VOLT", "X_VOLT"),
    "st": ("MILLI_VOLT", "MICRO_VOLT", "MILLI_M"),
    "temp": ("DEGC", "FAHR", "KELVIN"),
    "time": ("SEC", "MILLI_SEC", "MIN", "HR"),
    "interval": ("MILLI_SEC", "SEC"),
    "flow": ("X_L_PER_MIN", "MILLI_L_PER_MIN", "X_L_PER_SEC"),
    "index": ("X_L_PER_MIN_PER_M_SQ", "MILLI_L_PER_MIN_PER_M_SQ"),
    "volume": ("MILLI_L", "X_L", "MILLI_L_PER_BREATH"),
    "leak": ("X_L_PER_MIN", "MILLI_L_PER_MIN", "MILLI_L", "X_L"),
    "resistance": ("CM_H2O_PER_L_PER_SEC",),
    "compliance": ("MILLI_L_PER_CM_H2O",),
    "vascular": ("X_DYNE_PER_SEC_PER_CM5",),
    "impedance": ("X_OHM",),
    "plethysm": ("DIMLESS", "PERCENT", "MILLI_VOLT"),
    "breathing": ("DIMLESS", "PER_MIN", "RESP_PER_MIN", "=/min/L"),
    "frequency": ("HZ", "PER_MIN"),
    "mass": ("KILO_G", "X_G", "X_LB"),
    "pumpflow": ("MILLI_L_PER_HR", "MILLI_L_PER_MIN", "MICRO_L_PER_MIN", "X_L_PER_HR"),
    "doserate": (
        "MICRO_G_PER_KG_PER_MIN",
        "MICRO_G_PER_MIN",
        "MICRO_G_PER_KG_PER_HR",
        "X_INTL_UNIT_PER_HR",
        "X_INTL_UNIT_PER_KG_PER_HR",
        "MILLI_L_PER_HR",
    ),
    "concentration": (
        "MILLI_G_PER_ML",
        "MICRO_G_PER_ML",
        "X_INTL_UNIT_PER_ML",
        "MILLI_MOLE_PER_L",
        "MILLI_EQUIV_PER_L",
    ),
    "glucose": ("MILLI_G_PER_DL", "MILLI_MOLE_PER_L"),
    "haemoglobin": ("X_G_PER_DL", "X_G_PER_L", "MILLI_MOLE_PER_L"),
    "perkg": ("MILLI_L_PER_KG",),
}

METRICS: Final = """\
147842 ECG_HEART_RATE n beat FPU Heart rate
147850 ECG_CARD_BEAT_RATE_BTB n beat FP Heart rate, beat to beat
148065 ECG_V_P_C_CNT n count FP Ventricular premature contractions
149514 PULS_RATE n beat FP Pulse rate
149530 PULS_OXIM_PULS_RATE n beat FM Pulse rate from pulse oximetry
149538 PLETH_PULS_RATE n beat FP Pulse rate from plethysmogram
149546 PULS_RATE_NON_INV n beat FM Pulse rate from non-invasive pressure
147216 ECG_TIME_PD_PQ n interval FM PQ interval
147228 ECG_TIME_PD_QRS_GL n interval FM QRS duration
147232 ECG_TIME_PD_QT_GL n interval FPM QT interval
147236 ECG_TIME_PD_QTc n interval FP QT interval, rate corrected
131841 ECG_AMPL_ST_I n st FPM ST level, lead I
131842 ECG_AMPL_ST_II n st FPM ST level, lead II
131901 ECG_AMPL_ST_III n st FPM ST level, lead III
131902 ECG_AMPL_ST_AVR n st FPM ST level, lead aVR
131903 ECG_AMPL_ST_AVL n st FPM ST level, lead aVL
131904 ECG_AMPL_ST_AVF n st FPM ST level, lead aVF
131843 ECG_AMPL_ST_V1 n st FPM ST level, lead V1
131844 ECG_AMPL_ST_V2 n st FPM ST level, lead V2
131845 ECG_AMPL_ST_V3 n st FPM ST level, lead V3
131846 ECG_AMPL_ST_V4 n st FPM ST level, lead V4
131847 ECG_AMPL_ST_V5 n st FPM ST level, lead V5
131848 ECG_AMPL_ST_V6 n st FPM ST level, lead V6
131328 ECG_ELEC_POTL w voltage FPU Electrocardiogram
131329 ECG_ELEC_POTL_I w voltage FPMU Electrocardiogram, lead I
131330 ECG_ELEC_POTL_II w voltage FPMU Electrocardiogram, lead II
131389 ECG_ELEC_POTL_III w voltage FPM Electrocardiogram, lead III
131390 ECG_ELEC_POTL_AVR w voltage FPM Electrocardiogram, lead aVR
131391 ECG_ELEC_POTL_AVL w voltage FPM Electrocardiogram, lead aVL
131392 ECG_ELEC_POTL_AVF w voltage FPM Electrocardiogram, lead aVF
131395 ECG_ELEC_POTL_V w voltage FPM Electrocardiogram, lead V
131331 ECG_ELEC_POTL_V1 w voltage FPM Electrocardiogram, lead V1
131332 ECG_ELEC_POTL_V2 w voltage FPM Electrocardiogram, lead V2
131333 ECG_ELEC_POTL_V3 w voltage FPM Electrocardiogram, lead V3
131334 ECG_ELEC_POTL_V4 w voltage FPM Electrocardiogram, lead V4
131335 ECG_ELEC_POTL_V5 w voltage FPM Electrocardiogram, lead V5
131336 ECG_ELEC_POTL_V6 w voltage FPM Electrocardiogram, lead V6
150016 PRESS_BLD b blood FPM Blood pressure
150017 PRESS_BLD_SYS n blood FPM Blood pressure, systolic
150018 PRESS_BLD_DIA n blood FPM Blood pressure, diastolic
150019 PRESS_BLD_MEAN n blood FPM Blood pressure, mean
150020 PRESS_BLD_NONINV n blood FPU Non-invasive blood pressure
150021 PRESS_BLD_NONINV_SYS n blood FPU Non-invasive blood pressure, systolic
150022 PRESS_BLD_NONINV_DIA n blood FPU Non-invasive blood pressure, diastolic
150023 PRESS_BLD_NONINV_MEAN n blood FPU Non-invasive blood pressure, mean
150300 PRESS_CUFF n blood FM Cuff pressure
150301 PRESS_CUFF_SYS n blood FM Cuff pressure, systolic
150302 PRESS_CUFF_DIA n blood FM Cuff pressure, diastolic
150303 PRESS_CUFF_MEAN n blood FM Cuff pressure, mean
150028 PRESS_BLD_AORT b blood FP Aortic pressure
150029 PRESS_BLD_AORT_SYS n blood FP Aortic pressure, systolic
150030 PRESS_BLD_AORT_DIA n blood FP Aortic pressure, diastolic
150031 PRESS_BLD_AORT_MEAN n blood FP Aortic pressure, mean
150032 PRESS_BLD_ART b blood FPM Arterial pressure
150033 PRESS_BLD_ART_SYS n blood FP Arterial pressure, systolic
150034 PRESS_BLD_ART_DIA n blood FP Arterial pressure, diastolic
150035 PRESS_BLD_ART_MEAN n blood FP Arterial pressure, mean
150036 PRESS_BLD_ART_ABP b blood FP Arterial blood pressure (ABP)
150037 PRESS_BLD_ART_ABP_SYS n blood FPM Arterial blood pressure (ABP), systolic
150038 PRESS_BLD_ART_ABP_DIA n blood FPM Arterial blood pressure (ABP), diastolic
150039 PRESS_BLD_ART_ABP_MEAN n blood FPM Arterial blood pressure (ABP), mean
150044 PRESS_BLD_ART_PULM b blood FPM Pulmonary arterial pressure
150045 PRESS_BLD_ART_PULM_SYS n blood FP Pulmonary arterial pressure, systolic
150046 PRESS_BLD_ART_PULM_DIA n blood FP Pulmonary arterial pressure, diastolic
150047 PRESS_BLD_ART_PULM_MEAN n blood FP Pulmonary arterial pressure, mean
150052 PRESS_BLD_ART_PULM_WEDGE n blood FP Pulmonary arterial wedge pressure
150056 PRESS_BLD_ART_UMB b blood FP Umbilical arterial pressure
150057 PRESS_BLD_ART_UMB_SYS n blood FP Umbilical arterial pressure, systolic
150058 PRESS_BLD_ART_UMB_DIA n blood FP Umbilical arterial pressure, diastolic
150059 PRESS_BLD_ART_UMB_MEAN n blood FP Umbilical arterial pressure, mean
150064 PRESS_BLD_ATR_LEFT b blood FPM Left atrial pressure
150067 PRESS_BLD_ATR_LEFT_MEAN n blood FP Left atrial pressure, mean
150068 PRESS_BLD_ATR_RIGHT b blood FPM Right atrial pressure
150071 PRESS_BLD_ATR_RIGHT_MEAN n blood FP Right atrial pressure, mean
150084 PRESS_BLD_VEN_CENT b blood FPMU Central venous pressure
150087 PRESS_BLD_VEN_CENT_MEAN n blood FP Central venous pressure, mean
153604 PRESS_CEREB_PERF n blood PM Cerebral perfusion pressure
153608 PRESS_INTRA_CRAN b blood PM Intracranial pressure
150276 OUTPUT_CARD n flow FP Cardiac output
150492 OUTPUT_CARD_CTS n flow FP Cardiac output, continuous
149772 OUTPUT_CARD_INDEX n index FP Cardiac index
150404 VOL_BLD_STROKE n volume FP Stroke volume
150308 RES_VASC_PULM n vascular FP Pulmonary vascular resistance
150312 RES_VASC_SYS n vascular FP Systemic vascular resistance
150316 SAT_O2 n percent FP Oxygen saturation
150324 SAT_O2_ART n percent FP Arterial oxygen saturation
150332 SAT_O2_VEN n percent FP Venous oxygen saturation
150448 PULS_OXIM_PERF_REL n percent FP Relative perfusion
150452 PULS_OXIM_PLETH w plethysm FPM Plethysmogram
150456 PULS_OXIM_SAT_O2 n percent FPM Oxygen saturation from pulse oximetry (SpO2)
150472 PULS_OXIM_SAT_O2_ART_LEFT n percent FP SpO2, left side
150476 PULS_OXIM_SAT_O2_ART_RIGHT n percent FP SpO2, right side
150488 BLD_PERF_INDEX n percent FM Perfusion index
150344 TEMP n temp FPM Temperature
150348 TEMP_FOLEY n temp FM Bladder temperature
150352 TEMP_ART n temp FPM Arterial blood temperature
150356 TEMP_AWAY n temp FPM Airway temperature
150364 TEMP_BODY n temp FA Body temperature
150368 TEMP_CORE n temp FPM Core temperature
150372 TEMP_ESOPH n temp FPM Oesophageal temperature
150380 TEMP_NASOPH n temp FPM Nasopharyngeal temperature
150388 TEMP_SKIN n temp FPM Skin temperature
150392 TEMP_TYMP n temp FPM Tympanic temperature
150396 TEMP_VEN n temp FPM Venous blood temperature
188420 TEMP_RECT n temp PM Rectal temperature
188436 TEMP_BLD n temp PM Blood temperature
151552 RESP w impedance FP Respiration
151562 RESP_RATE n resp FP Respiration rate
151570 AWAY_RESP_RATE n resp FP Respiration rate from airway
151586 VENT_RESP_RATE n resp FPG Ventilation rate
151594 CO2_RESP_RATE n resp FMS Respiration rate from carbon dioxide
151780 IMPED_TTHOR w impedance PM Transthoracic impedance
151700 CONC_AWAY_CO2 b gas FMS Airway carbon dioxide
151708 CONC_AWAY_CO2_ET n gas FMSG End-tidal carbon dioxide
151716 CONC_AWAY_CO2_INSP n gas FMS Inspired carbon dioxide
151724 AWAY_CO2 b gas FP Airway carbon dioxide
151728 AWAY_CO2_ET n gas FP End-tidal carbon dioxide
151756 CO2_TCUT n gas FP Transcutaneous carbon dioxide
151908 CONC_AWAY_O2 b fraction PS Airway oxygen
152196 CONC_AWAY_O2_INSP n fraction PMG Inspired oxygen (FiO2)
152440 CONC_AWAY_O2_ET n fraction PMS End-tidal oxygen
153144 CONC_GASDLV_O2_INSP n fraction GS Inspired oxygen, gas delivery system
152192 CONC_AWAY_N2O_INSP n fraction PMS Inspired nitrous oxide
152108 CONC_AWAY_N2O_ET n fraction PMS End-tidal nitrous oxide
152168 CONC_AWAY_DESFL_INSP n fraction PS Inspired desflurane
152084 CONC_AWAY_DESFL_ET n fraction PS End-tidal desflurane
152184 CONC_AWAY_ISOFL_INSP n fraction PS Inspired isoflurane
152100 CONC_AWAY_ISOFL_ET n fraction PS End-tidal isoflurane
152180 CONC_AWAY_SEVOFL_INSP n fraction PS Inspired sevoflurane
152096 CONC_AWAY_SEVOFL_ET n fraction PS End-tidal sevoflurane
152464 CONC_AWAY_AGENT_INSP n fraction PMS Inspired anaesthetic agent
152460 CONC_AWAY_AGENT_ET n fraction PMS End-tidal anaesthetic agent
151764 FLOW_AWAY b flow PS Airway flow
151948 VENT_FLOW_INSP n flow PG Inspiratory flow
151792 PRESS_AWAY b airway PS Airway pressure
151784 PRESS_RESP_PLAT n airway PM Plateau pressure
152424 VENT_PRESS_RESP_PLAT n airway PG Ventilation plateau pressure
151808 PRESS_AWAY_END_EXP_POS_INTRINSIC n airway PG Intrinsic PEEP
151819 PRESS_AWAY_INSP_MEAN n airway PM Mean airway pressure
151973 VENT_PRESS_AWAY_MAX n airway GM Peak airway pressure
151976 VENT_PRESS_AWAY_END_EXP_POS n airway PGM Positive end-expiratory pressure (PEEP)
151832 RATIO_IE n ratio PGM Inspiration to expiration ratio
151840 RES_AWAY n resistance PGM Airway resistance
151844 RES_AWAY_EXP n resistance PGM Airway resistance, expiratory
151848 RES_AWAY_INSP n resistance PGM Airway resistance, inspiratory
151688 COMPL_LUNG n compliance FPGM Respiratory compliance
151692 COMPL_LUNG_DYN n compliance FPGM Thoracic compliance, dynamic
151696 COMPL_LUNG_STATIC n compliance FPGM Lung compliance, static
151868 VOL_AWAY_TIDAL n volume PGM Tidal volume
151980 VENT_VOL_TIDAL n volume GQ Ventilation tidal volume
152660 VOL_AWAY_TIDAL_INSP n volume GM Tidal volume, inspiratory
152664 VOL_AWAY_TIDAL_EXP n volume GM Tidal volume, expiratory
153208 VOL_AWAY_TIDAL_PER_IBW n perkg GM Tidal volume per ideal body weight
151880 VOL_MINUTE_AWAY n flow PGM Minute volume
152000 VENT_VOL_MINUTE_EXP n flow GM Minute volume, expiratory
151984 VENT_VOL_AWAY_DEADSP n volume PG Dead space
151988 VENT_VOL_AWAY_DEADSP_REL n ratio PG Dead space to tidal volume
152432 VENT_VOL_LEAK n leak PM Leakage
152490 VENT_RESP_BTSD_PSAZC_RATE n resp GM Total respiration rate
152860 RESP_RAPID_SHALLOW_BREATHING_INDEX n breathing GM Rapid shallow breathing index
153992 EEG_FREQ_PWR_SPEC_CRTX_SPECTRAL_EDGE n frequency PM Spectral edge frequency
188736 MASS_BODY_ACTUAL n mass MA Body mass
160020 CONC_GLU_GEN n glucose PA Glucose
160132 CONC_HCT_GEN n percent PM Haematocrit
159764 CONC_HB_ART n haemoglobin PM Arterial haemoglobin
157784 FLOW_FLUID_PUMP n pumpflow PSBV Infusion rate
158014 FLOW_FLUID_PUMP_CURRENT n pumpflow BI Infusion rate, current
157884 VOL_FLUID_TBI n volume BIV Volume to be infused
157872 VOL_FLUID_TBI_REMAIN n volume BV Volume to be infused, remaining
157993 VOL_FLUID_DELIV_TOTAL n volume BI Volume infused, total
157760 CONC_DRUG n concentration BIV Drug concentration
157924 RATE_DOSE n doserate IV Dose rate
157916 TIME_PD_REMAIN n time BI Time remaining
"""
