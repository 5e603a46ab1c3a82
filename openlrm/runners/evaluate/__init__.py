"""Evaluation, one file a family: objects in, figures and comparison sheets out."""
