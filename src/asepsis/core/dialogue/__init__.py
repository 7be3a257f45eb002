"""Conversations over a connection that somebody else opened: a codec, a queue and time-outs."""
