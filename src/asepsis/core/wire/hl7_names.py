"""Names of fields, for people who read a message.

Source: HL7 v2.8.2 chapters 2 (MSH, MSA, ERR), 3 (EVN, PID, PV1, MRG, NK1), 4 (ORC, OBR), 7 (OBX)
and v2.7 chapter 7 (PRT).
"""

from typing import Final

_NAMES: Final = {
    "MSH": (
        "Field Separator|Encoding Characters|Sending Application|Sending Facility"
        "|Receiving Application|Receiving Facility|Date/Time of Message|Security|Message Type"
        "|Message Control ID|Processing ID|Version ID|Sequence Number|Continuation Pointer"
        "|Accept Acknowledgment Type|Application Acknowledgment Type|Country Code|Character Set"
        "|Principal Language|Alternate Character Set Handling|Message Profile Identifier"
    ),
    "MSA": "Acknowledgment Code|Message Control ID|Text Message|Expected Sequence Number",
    "ERR": (
        "Error Code and Location|Error Location|HL7 Error Code|Severity|Application Error Code"
        "|Application Error Parameter|Diagnostic Information|User Message"
    ),
    "EVN": (
        "Event Type Code|Recorded Date/Time|Date/Time Planned Event|Event Reason Code"
        "|Operator ID|Event Occurred|Event Facility"
    ),
    "PID": (
        "Set ID|Patient ID|Patient Identifier List|Alternate Patient ID|Patient Name"
        "|Mother's Maiden Name|Date/Time of Birth|Administrative Sex|Patient Alias|Race"
        "|Patient Address|County Code|Phone Number - Home|Phone Number - Business"
        "|Primary Language|Marital Status|Religion|Patient Account Number|SSN Number"
        "|Driver's License Number|Mother's Identifier|Ethnic Group|Birth Place"
        "|Multiple Birth Indicator|Birth Order|Citizenship|Veterans Military Status|Nationality"
        "|Patient Death Date and Time|Patient Death Indicator"
    ),
    "MRG": (
        "Prior Patient Identifier List|Prior Alternate Patient ID|Prior Patient Account Number"
        "|Prior Patient ID|Prior Visit Number|Prior Alternate Visit ID|Prior Patient Name"
    ),
    "NK1": "Set ID|Name|Relationship|Address|Phone Number|Business Phone Number|Contact Role",
    "PV1": (
        "Set ID|Patient Class|Assigned Patient Location|Admission Type|Preadmit Number"
        "|Prior Patient Location|Attending Doctor|Referring Doctor|Consulting Doctor"
        "|Hospital Service|Temporary Location|Preadmit Test Indicator|Re-admission Indicator"
        "|Admit Source|Ambulatory Status|VIP Indicator|Admitting Doctor|Patient Type"
        "|Visit Number"
    ),
    "ORC": (
        "Order Control|Placer Order Number|Filler Order Number|Placer Group Number|Order Status"
        "|Response Flag|Quantity/Timing|Parent|Date/Time of Transaction|Entered By|Verified By"
        "|Ordering Provider"
    ),
    "OBR": (
        "Set ID|Placer Order Number|Filler Order Number|Universal Service Identifier|Priority"
        "|Requested Date/Time|Observation Date/Time|Observation End Date/Time|Collection Volume"
        "|Collector Identifier|Specimen Action Code|Danger Code|Relevant Clinical Information"
        "|Specimen Received Date/Time|Specimen Source|Ordering Provider"
        "|Order Callback Phone Number|Placer Field 1|Placer Field 2|Filler Field 1"
        "|Filler Field 2|Results Rpt/Status Chng - Date/Time|Charge to Practice"
        "|Diagnostic Serv Sect ID|Result Status"
    ),
    "OBX": (
        "Set ID|Value Type|Observation Identifier|Observation Sub-ID|Observation Value|Units"
        "|Reference Range|Interpretation Codes|Probability|Nature of Abnormal Test"
        "|Observation Result Status|Effective Date of Reference Range"
        "|User Defined Access Checks|Date/Time of the Observation|Producer's ID"
        "|Responsible Observer|Observation Method|Equipment Instance Identifier"
        "|Date/Time of the Analysis|Observation Site"
    ),
    "PRT": (
        "Participation Instance ID|Action Code|Action Reason|Participation|Person|Person Type"
        "|Organization Unit Type|Organization|Location|Device|Begin Date/Time|End Date/Time"
    ),
    "NTE": "Set ID|Source of Comment|Comment|Comment Type",
}
FIELDS: Final = {
    (segment, number): name
    for segment, names in _NAMES.items()
    for number, name in enumerate(names.split("|"), 1)
}


def field_name(segment: str, number: int) -> str:
    """Return the name of a field; "" for one that is not listed.

    Args:
        segment: Three letters.
        number: From 1.

    Source: HL7 v2.8.2.
    """
    return FIELDS.get((segment, number), "")
