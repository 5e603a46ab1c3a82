"""Runners that optimise one object's representation."""
