"""Representations optimised to fit posed views of one object."""
