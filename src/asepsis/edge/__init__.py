"""What stands on the ward: the connection to the hub, and later gateways and devices."""
