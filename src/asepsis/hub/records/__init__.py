"""The record: what was measured, kept in compact blocks made from the journal, and FHIR reads."""
