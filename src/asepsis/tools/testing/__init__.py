"""What a developer tests against: scripted peers, and checks that every implementation must pass."""
