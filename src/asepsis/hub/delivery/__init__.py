"""What leaves the hub: live views for people and durable lanes for consumers."""
