"""Runners that use a trained model."""
