"""The composition root of the hub: settings to adapters to services to listeners."""
