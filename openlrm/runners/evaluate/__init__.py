"""Runners that measure a model."""
