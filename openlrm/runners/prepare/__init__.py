"""Preparing what models are given."""
