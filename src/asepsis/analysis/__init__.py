"""What a fleet's threats cost, and which plan against them is provably best; needs no hub."""
