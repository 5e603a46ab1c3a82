"""Runners that make training data."""
