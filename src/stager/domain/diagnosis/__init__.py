"""Finds the likely cause of a failure: pure functions from what is stored about it."""
