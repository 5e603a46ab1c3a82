"""Runners between the project's layout and other programs' formats."""
