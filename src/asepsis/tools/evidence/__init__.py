"""Evidence packs: made from the audit log, verified without Asepsis, printed for people."""
