"""From the hub to an old system on the gateway's own segment: fetched, delivered, reported."""
