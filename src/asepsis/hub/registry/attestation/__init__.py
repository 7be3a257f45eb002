"""What devices run, as their TPMs state it: commissioning, questions, verdicts."""
