"""The one audit log: who did what to whom, in a Merkle tree that nobody can rewrite unseen."""
