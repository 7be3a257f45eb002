"""The acts of the demonstration: each does one thing to the ward, measures it and tells it.

An act takes the stage and writes its figures into the summary. What goes otherwise than it should
is noted as a failure; the story goes on, so that the ledgers are compared in any case.
"""
