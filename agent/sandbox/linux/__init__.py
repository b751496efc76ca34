"""Confining a process on Linux with nothing but the standard library: seccomp, Landlock, limits, capabilities."""
