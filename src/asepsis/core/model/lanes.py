"""The lanes of the standard, in order of priority. Alerts never wait behind anything."""

from enum import StrEnum


class Lane(StrEnum):
    """One stream of the journal, with a budget of its own."""

    ALERT = "alert"
    VITALS = "vitals"
    WAVEFORM = "waveform"
    LATE = "late"
    MESSAGE = "message"
    IMAGE_INDEX = "image-index"
    EVENT = "event"


class Account(StrEnum):
    """A sequence space of one producer and epoch; lanes that share a chain share an account."""

    ORIGIN = "origin"
    """Signed batches: alert, vitals and late lane."""
    WAVEFORM = "waveform"
    """Waveform packets: waveform and late lane."""
    FHIR = "fhir"
    """Bundles and alarm documents of sources without an origin key."""
    MESSAGE = "message"
    """HL7 v2 messages."""
    IMAGE_INDEX = "image-index"
    """References to imaging objects."""
    EVENT = "event"
    """Events of the hub's own services, by outbox id."""
