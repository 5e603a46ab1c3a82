"""Runners that inspect what is given to others."""
