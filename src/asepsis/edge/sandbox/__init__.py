"""What keeps compartments apart: rings, Landlock, seccomp, bubblewrap, users, limits, the broker.

Standard library and `core` only; system calls go through ctypes, so a device needs no compiler and
no further package.
"""
