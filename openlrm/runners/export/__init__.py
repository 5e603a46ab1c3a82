"""`export.*`: models for other programs."""
