"""Carried everywhere: no web framework, no database engine, no sockets but the journal's."""
