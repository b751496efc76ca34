"""Shared permutations and integer kernels."""
