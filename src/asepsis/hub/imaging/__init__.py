"""Images: STOW-RS, QIDO-RS and WADO-RS, and what the hub holds of them until it may let go."""
