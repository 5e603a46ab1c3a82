"""Figures of planes and pictures: frequencies, gains, visibility, ranks, statistics. Pure functions on numpy arrays.

Planes are (P, C, H, W): plane, channel, row, column; P = 3 for a triplane. Everything is computed in float64.
Frequencies are in Nyquist units, see `openlrm.analysis.bands`.
"""
