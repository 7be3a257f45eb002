"""The fleet: which approved release is on which device, and who gets what when."""
