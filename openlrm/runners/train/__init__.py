"""Training runs, one file a family."""
