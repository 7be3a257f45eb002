"""The audit log as others read it: FHIR AuditEvent and DICOM audit messages."""
