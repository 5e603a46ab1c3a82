"""Compiled loops on numpy arrays, which stand for kernels on a CPU; imported where used: numba takes 0.3 s to import.

Each file holds loops of one idea. `openlrm.ops` says when they run.
"""
