"""SOP classes that are asked of an archive or worklist, and what each needs. Pure tables.

Source: DICOM PS3.4 annexes C (query and retrieve), F (performed procedure step), J (storage
commitment), K (worklist).
"""

from collections.abc import Mapping
from typing import Final

from pydicom.uid import (
    BasicTextSRStorage,
    BreastTomosynthesisImageStorage,
    ComprehensiveSRStorage,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    EncapsulatedPDFStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    EnhancedSRStorage,
    EnhancedUSVolumeStorage,
    EnhancedXAImageStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    MRImageStorage,
    MRSpectroscopyStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    NuclearMedicineImageStorage,
    OphthalmicPhotography8BitImageStorage,
    PositronEmissionTomographyImageStorage,
    RTDoseStorage,
    RTImageStorage,
    RTIonPlanStorage,
    RTPlanStorage,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    SpatialRegistrationStorage,
    TwelveLeadECGWaveformStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    VLEndoscopicImageStorage,
    VLPhotographicImageStorage,
    XRayAngiographicImageStorage,
    XRayRadiationDoseSRStorage,
    XRayRadiofluoroscopicImageStorage,
)

from asepsis.core.wire.relay import Kind
from asepsis.edge.gateway.imaging.dimse import Field

EXPLICIT: Final = "1.2.840.10008.1.2.1"
IMPLICIT: Final = "1.2.840.10008.1.2"
SYNTAXES: Final = (EXPLICIT, IMPLICIT)
"""Transfer syntaxes in which queries and steps are read and written."""
FIND_STUDY: Final = "1.2.840.10008.5.1.4.1.2.2.1"
MOVE_STUDY: Final = "1.2.840.10008.5.1.4.1.2.2.2"
GET_STUDY: Final = "1.2.840.10008.5.1.4.1.2.2.3"
FIND_WORKLIST: Final = "1.2.840.10008.5.1.4.31"
STEP: Final = "1.2.840.10008.3.1.2.3.3"
"""Modality Performed Procedure Step."""
COMMITMENT: Final = "1.2.840.10008.1.20.1"
"""Storage Commitment Push Model, and below the one instance of it that everybody has."""
COMMITMENT_INSTANCE: Final = "1.2.840.10008.1.20.1.1"

WORDS: Final[Mapping[str, frozenset[str]]] = {
    "query": frozenset({FIND_STUDY}),
    "retrieve": frozenset({MOVE_STUDY, GET_STUDY}),
    "worklist": frozenset({FIND_WORKLIST}),
    "mpps": frozenset({STEP}),
    "commitment": frozenset({COMMITMENT}),
}
"""Words of the settings for these classes."""
ROLES: Final[Mapping[str, str]] = {
    FIND_STUDY: "query",
    MOVE_STUDY: "query",
    GET_STUDY: "query",
    FIND_WORKLIST: "worklist",
    STEP: "worklist",
    COMMITMENT: "store",
}
"""What the user of a modality must be allowed to do."""
KINDS: Final[Mapping[tuple[str, int], Kind]] = {
    (FIND_STUDY, Field.C_FIND_RQ): Kind.FIND_STUDY,
    (FIND_WORKLIST, Field.C_FIND_RQ): Kind.FIND_WORKLIST,
    (MOVE_STUDY, Field.C_MOVE_RQ): Kind.MOVE,
    (GET_STUDY, Field.C_GET_RQ): Kind.GET,
    (STEP, Field.N_CREATE_RQ): Kind.MPPS_CREATE,
    (STEP, Field.N_SET_RQ): Kind.MPPS_SET,
    (COMMITMENT, Field.N_ACTION_RQ): Kind.COMMIT,
}
"""SOP class and command -> what is asked."""
CLASSES: Final[Mapping[Kind, str]] = {kind: key[0] for key, kind in KINDS.items()}
STEPS: Final = frozenset({Kind.MPPS_CREATE, Kind.MPPS_SET})

_COMMON: Final = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    DigitalMammographyXRayImageStorageForPresentation,
    BreastTomosynthesisImageStorage,
    CTImageStorage,
    EnhancedCTImageStorage,
    MRImageStorage,
    EnhancedMRImageStorage,
    MRSpectroscopyStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    EnhancedUSVolumeStorage,
    SecondaryCaptureImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    XRayAngiographicImageStorage,
    EnhancedXAImageStorage,
    XRayRadiofluoroscopicImageStorage,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
    EnhancedPETImageStorage,
    RTImageStorage,
    RTDoseStorage,
    RTStructureSetStorage,
    RTPlanStorage,
    RTIonPlanStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    SpatialRegistrationStorage,
    SegmentationStorage,
    BasicTextSRStorage,
    EnhancedSRStorage,
    ComprehensiveSRStorage,
    XRayRadiationDoseSRStorage,
    KeyObjectSelectionDocumentStorage,
    EncapsulatedPDFStorage,
    VLEndoscopicImageStorage,
    VLPhotographicImageStorage,
    OphthalmicPhotography8BitImageStorage,
    TwelveLeadECGWaveformStorage,
)
COMMON_STORAGE: Final = tuple(str(uid) for uid in _COMMON)
"""What a destination of C-MOVE is offered where its entry names nothing else."""
JPEG_LOSSLESS: Final = "1.2.840.10008.1.2.4.70"
