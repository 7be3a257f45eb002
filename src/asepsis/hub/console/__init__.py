"""The console: pages for people, rendered on the hub and working without the rest of the world."""
