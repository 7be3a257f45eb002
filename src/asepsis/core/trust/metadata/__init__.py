"""Trust in software: TUF metadata, what our own fields say, and what a device accepts of both."""
