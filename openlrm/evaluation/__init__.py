"""Evaluation: objects in, figures and comparison sheets out."""
