"""What a developer tests against: scripted peers, and checks that implementations must pass."""
