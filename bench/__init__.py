"""Measures Stager against its budgets, each figure next to its floor from the same run."""
